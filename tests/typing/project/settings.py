"""The book shop with an app whose relations are strict."""

SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "turbo_orm",
    "accounts",
    "shop",
    "lending",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}
TURBO_ORM = {
    "CODEGEN": {
        "MODELS": {
            f"lending.{model}": {"strict_relations": True} for model in ("Loan", "LongLoan", "Receipt")
        }
    }
}
