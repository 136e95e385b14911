"""What unannotated queryset methods return, by their source."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest
from django.db import models

import turbo_orm
from turbo_orm import AsyncManager, AsyncQuerySet
from turbo_orm.codegen import ir
from turbo_orm.codegen.inference import infer_made, infer_return, row_variables

SAME, ANNOTATED = ir.SAME_QUERYSET, ir.ANNOTATED_QUERYSET


class Rows(AsyncQuerySet):
    def plain(self):  # type: ignore[no-untyped-def]
        return self.filter(a=1).exclude(b=2).order_by("c")

    def itself(self):  # type: ignore[no-untyped-def]
        return self

    def sliced(self):  # type: ignore[no-untyped-def]
        return self.filter(a=1)[:5]

    def by_another(self):  # type: ignore[no-untyped-def]
        return self.plain().distinct()

    def counted(self):  # type: ignore[no-untyped-def]
        return self.annotate(n=1).filter(n=1)

    def after_counted(self):  # type: ignore[no-untyped-def]
        return self.counted().plain()

    def branches(self, flag=False):  # type: ignore[no-untyped-def]
        rows = self.all()
        if flag:
            rows = rows.filter(a=1)
        return rows if flag else self.none()

    def a_branch_annotates(self, flag=False):  # type: ignore[no-untyped-def]
        if flag:
            return self.filter(a=1)
        return self.counted()

    def first_row(self):  # type: ignore[no-untyped-def]
        return self.filter(a=1).first()

    def one(self):  # type: ignore[no-untyped-def]
        return self.filter(a=1)[0]

    def nothing(self):  # type: ignore[no-untyped-def]
        self.filter(a=1)

    def sometimes(self, flag=False):  # type: ignore[no-untyped-def]
        if flag:
            return None
        return self.all()

    def parameter(self, rows):  # type: ignore[no-untyped-def]
        return rows.filter(a=1)

    def of_another(self):  # type: ignore[no-untyped-def]
        return Rows().filter(a=1)

    def recursive(self):  # type: ignore[no-untyped-def]
        return self.recursive().filter(a=1)

    def generator(self):  # type: ignore[no-untyped-def]
        yield 1
        return self

    def inner(self):  # type: ignore[no-untyped-def]
        def helper():  # type: ignore[no-untyped-def]
            return 3

        return self.filter(a=helper())

    def filter(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        return super().filter(*args, **kwargs).distinct()

    def made(self):  # type: ignore[no-untyped-def]
        return dict(self).filter(a=1)

    def values_of(self):  # type: ignore[no-untyped-def]
        return self.values("a")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("plain", SAME),
        ("itself", SAME),
        ("sliced", SAME),
        ("by_another", SAME),
        ("branches", SAME),
        ("inner", SAME),
        ("filter", SAME),
        ("counted", ANNOTATED),
        ("after_counted", ANNOTATED),
        ("a_branch_annotates", ANNOTATED),
        ("first_row", None),
        ("one", None),
        ("nothing", None),
        ("sometimes", None),
        ("parameter", None),
        ("of_another", None),
        ("recursive", None),
        ("generator", None),
        ("values_of", None),
        ("made", None),
    ],
)
def test_inferred(method: str, expected: str | None) -> None:
    assert infer_return(vars(Rows)[method], Rows) == expected


def test_function_without_source() -> None:
    namespace: dict[str, Any] = {}
    exec("def method(self):\n    return self", namespace)
    assert infer_return(namespace["method"], Rows) is None


class Made(AsyncManager):
    def plain(self):  # type: ignore[no-untyped-def]
        return Rows(self.model, using=self._db)

    def chained(self):  # type: ignore[no-untyped-def]
        return Rows[Any](self.model).filter(a=1)[:5]

    def assigned(self):  # type: ignore[no-untyped-def]
        rows = Rows(self.model)
        rows = rows.filter(a=1)
        if self._db:
            return rows.using(self._db)
        return rows

    def dotted(self):  # type: ignore[no-untyped-def]
        return turbo_orm.AsyncQuerySet(self.model)

    def of_the_base(self):  # type: ignore[no-untyped-def]
        return super().get_queryset().filter(a=1)

    def of_two_kinds(self):  # type: ignore[no-untyped-def]
        return super().get_queryset() if self._db is None else Rows(self.model)

    def assigned_two_kinds(self):  # type: ignore[no-untyped-def]
        found = turbo_orm.AsyncQuerySet(self.model)
        if self._db is None:
            found = Rows(self.model)
        return found.filter(a=1)

    def assigned_or_of_the_base(self):  # type: ignore[no-untyped-def]
        rows = super().get_queryset()
        if self._db:
            rows = Rows(self.model)
        return rows

    def elsewhere(self):  # type: ignore[no-untyped-def]
        return self.dotted()

    def unknown(self, rows):  # type: ignore[no-untyped-def]
        return rows.filter(a=1)


@pytest.mark.parametrize(
    ("method", "made"),
    [
        ("plain", Rows),
        ("chained", Rows),
        ("assigned", Rows),
        ("dotted", AsyncQuerySet),
        ("of_the_base", super),
        ("of_two_kinds", None),
        ("assigned_two_kinds", None),
        ("assigned_or_of_the_base", None),
        ("elsewhere", None),
        ("unknown", None),
    ],
)
def test_class_that_a_manager_makes(method: str, made: Any) -> None:
    assert infer_made(getattr(Made, method)) is made


M = TypeVar("M", bound=models.Model)
T = TypeVar("T")


class Found(Generic[T]):
    pass


class Base(Found[T], AsyncQuerySet[M]):
    pass


class OnTop(Base[M]):  # type: ignore[type-arg, unused-ignore]
    pass


class Managers(models.Manager[M], Generic[M, T]):
    pass


@pytest.mark.parametrize(
    ("cls", "variables"), [(Base, (M,)), (OnTop, (M,)), (Managers, (M,)), (Found, ()), (Rows, ()), (int, ())]
)
def test_type_variables_that_are_the_model(cls: type[Any], variables: tuple[TypeVar, ...]) -> None:
    assert row_variables(cls) == variables
