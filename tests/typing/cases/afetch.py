"""afetch(): relations loaded later, typed by name."""

from typing import Any

from accounts.turbo import Profile, User
from shop.turbo import Book, Review, Tag
from typing_extensions import assert_type


async def right(book: Book, user: User) -> None:
    assert_type(await book.afetch("author"), User)
    assert_type(await book.afetch("editor"), User | None)
    assert_type(await book.afetch("tags"), list[Tag])
    assert_type(await book.afetch("reviews"), list[Review])
    assert_type(await user.afetch("profile"), Profile | None)
    assert_type(await book.afetch("author", "tags"), tuple[Any, ...])
    await book.afetch("author__profile")
    await book.afetch("title")


async def wrong(book: Book) -> None:
    await book.afetch("auther")  # E: arg-type
    await book.afetch("author", "tag")  # E: arg-type
    editor: User = await book.afetch("editor")  # E: assignment
    book.afetch("author").username  # E: attr-defined
    print(editor)
