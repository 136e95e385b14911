"""What runs inside the process of Django's tests; started by `devtools.conformance.batches`."""
