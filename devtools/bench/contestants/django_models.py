"""A Django project of three models, for the contestants that are Django."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings

from devtools.bench.schema import WIDTHS, numbered_table, wide_columns, wide_table

__all__ = ["configure", "make_model_of_number", "make_models", "no_mixin"]

no_mixin: tuple[type, ...] = ()


def configure(
    url: str, *, engine: str, options: Mapping[str, Any], apps: Sequence[str] = (), **others: Any
) -> None:
    """Settings of a project with one database, as a project has them."""
    parts = urlsplit(url)
    database = {
        "ENGINE": engine,
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(options),
    }
    settings.configure(
        DEBUG=False,  # said, as in every project's settings: Django looks longer for what is not
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        TIME_ZONE="UTC",
        INSTALLED_APPS=[*apps, "devtools.bench.contestants.django_app.BenchConfig"],
        **others,
    )
    django.setup()


def make_models(manager: Callable[[], Any] | None = None, mixins: tuple[type, ...] = no_mixin) -> Any:
    """Declare the models; *manager* makes their ``objects``, Django's own by default."""
    from django.db import models

    make_manager = manager or models.Manager
    declare = _declarer(make_manager, mixins)

    def book() -> dict[str, Any]:
        return {
            "author": models.ForeignKey("bench.Author", models.CASCADE, related_name="+"),
            "title": models.CharField(max_length=200),
            "description": models.TextField(),
            "in_print": models.BooleanField(default=True),
            "price": models.DecimalField(max_digits=8, decimal_places=2),
            "created_at": models.DateTimeField(),
            "pages": models.IntegerField(null=True),
            "meta": models.JSONField(),
        }

    author = declare(
        "Author",
        "author",
        name=models.CharField(max_length=100),
        email=models.EmailField(),
        country=models.CharField(max_length=2),
        born=models.IntegerField(),
    )
    tag = declare("Tag", "tag", name=models.CharField(max_length=50))
    tags: Any = models.ManyToManyField("bench.Tag", db_table="book_tags", related_name="books")
    wide = {}
    for width in WIDTHS:
        columns: dict[str, Any] = {
            name: models.TextField() if number % 2 else models.IntegerField()
            for number, name in enumerate(wide_columns(width), 1)
        }
        wide[width] = declare(f"Wide{width}", wide_table(width), **columns)
    return SimpleNamespace(
        Author=author,
        Tag=tag,
        Book=declare("Book", "book", **book(), tags=tags),
        WrittenBook=declare("WrittenBook", "wbook", **book()),
        wide=wide,
    )


def make_model_of_number(
    number: int, manager: Callable[[], Any] | None = None, mixins: tuple[type, ...] = no_mixin
) -> Any:
    """Declare the model of one of the small tables."""
    from django.db import models

    return _declarer(manager or models.Manager, mixins)(
        f"Numbered{number}",
        numbered_table(number),
        c1=models.TextField(),
        c2=models.IntegerField(),
        c3=models.TextField(),
        c4=models.IntegerField(),
    )


def _declarer(make_manager: Callable[[], Any], mixins: tuple[type, ...]) -> Callable[..., Any]:
    from django.db import models

    def declare(name: str, table: str, /, **fields: Any) -> Any:
        meta = type("Meta", (), {"app_label": "bench", "db_table": table, "managed": False})
        namespace = {"__module__": __name__, "Meta": meta, "objects": make_manager(), **fields}
        make_class: Any = type(models.Model)
        return make_class(name, (*mixins, models.Model), namespace)

    return declare
