"""Apps whose facades are kept beside their models, to be reviewed: a diff there is a change of the output.

To renew them, run `turbo_generate` of the `manage.py` beside this file.
"""

SECRET_KEY = "tests"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "turbo_orm",
    "django.contrib.contenttypes",
    "minimal",
    "related",
    "clashing",
    "managed",
    "typed",
    "inherited",
    "strict",
    "general",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}
TURBO_ORM = {
    # Long lists of lookups would hide the rest.
    "CODEGEN": {
        "DEPTH": 0,
        "MODELS": {
            "related.Pupil": {"depth": 1},
            "strict.Parent": {"strict_relations": True},
            "strict.Child": {"strict_relations": True, "depth": 1},
        },
    },
    "FIELD_TYPES": {"typed.fields.MoneyField": "typed.fields.Money"},
}
