"""Which of Django's test packages to run."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CI_LABELS", "VERB_LABELS", "available", "package_of"]

#: Not test packages of their own; in need of another database; or, the tests of `django-admin`, all in
#: processes of their own, which no runner can lead through the bridge (they run when asked for by name).
_SKIPPED = frozenset({"admin_scripts", "gis_tests", "import_error_package", "test_runner_apps"})

#: What "verbs" runs when no labels are given: the packages about querysets, instances and relations.
VERB_LABELS = (
    "aggregation",
    "aggregation_regress",
    "annotations",
    "async",
    "basic",
    "bulk_create",
    "composite_pk",
    "constraints",
    "custom_columns",
    "custom_managers",
    "custom_methods",
    "custom_pk",
    "dates",
    "datetimes",
    "db_functions",
    "defer",
    "defer_regress",
    "delete",
    "delete_regress",
    "distinct_on_fields",
    "empty",
    "expressions",
    "expressions_case",
    "expressions_window",
    "extra_regress",
    "filtered_relation",
    "force_insert_update",
    "foreign_object",
    "generic_relations",
    "generic_relations_regress",
    "get_earliest_or_latest",
    "get_object_or_404",
    "get_or_create",
    "known_related_objects",
    "lookup",
    "m2m_and_m2o",
    "m2m_intermediary",
    "m2m_multiple",
    "m2m_recursive",
    "m2m_regress",
    "m2m_signals",
    "m2m_through",
    "m2m_through_regress",
    "m2o_recursive",
    "many_to_many",
    "many_to_one",
    "many_to_one_null",
    "model_fields",
    "model_inheritance",
    "model_inheritance_regress",
    "multiple_database",
    "nested_foreign_keys",
    "null_fk",
    "null_fk_ordering",
    "null_queries",
    "one_to_one",
    "ordering",
    "or_lookups",
    "postgres_tests",
    "prefetch_related",
    "proxy_models",
    "queries",
    "queryset_pickle",
    "raw_query",
    "reserved_names",
    "reverse_lookup",
    "save_delete_hooks",
    "select_for_update",
    "select_related",
    "select_related_onetoone",
    "select_related_regress",
    "signals",
    "string_lookup",
    "transactions",
    "unmanaged_models",
    "update",
    "update_only_fields",
    "xor_lookups",
)

#: What `.ci/run` runs: the whole ORM in all modes, and in the bridge what lives closely with it.
CI_LABELS = (
    *VERB_LABELS,
    "asgi",
    "backends",
    "contenttypes_tests",
    "fixtures",
    "handlers",
    "model_forms",
    "model_formsets",
    "serializers",
    "sessions_tests",
    "test_utils",
    "transaction_hooks",
    "validation",
)


def available(tests: Path) -> list[str]:
    """Return the names of all test packages in the folder *tests*, those about the ORM first."""
    names = [path.parent.name for path in tests.glob("*/__init__.py") if path.parent.name not in _SKIPPED]
    return sorted(names, key=lambda name: (name not in VERB_LABELS, name))


def package_of(label: str) -> str:
    """Return the test package of a label such as ``queries.tests.Queries1Tests``."""
    return label.partition(".")[0]
