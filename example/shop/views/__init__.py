"""The shop's views. All are async, and take their models from the generated `shop.turbo`."""
