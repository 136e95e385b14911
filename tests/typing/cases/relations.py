"""Foreign keys, one-to-one, reverse and many-to-many managers."""

import accounts.models
from accounts.turbo import Profile, User, UserManyManager
from django.contrib.auth.models import Group
from lending.turbo import Loan, Witness
from shop.turbo import Book, Publisher, Review, Tag
from typing_extensions import assert_type


async def right(book: Book, user: User, tag: Tag, group: Group) -> None:
    assert_type(book.author, User)
    assert_type(book.author_id, int)
    assert_type(book.author.username, str)
    assert_type(book.editor, User | None)
    assert_type(book.editor_id, int | None)
    assert_type(user.profile, Profile)
    assert_type(user.profile.user, User)
    assert_type(await user.books.alist(), list[Book])
    assert_type(await user.books.filter(title="x").order_by("-price").afirst(), Book | None)
    assert_type([review async for review in book.reviews.all()], list[Review])
    assert_type(await user.books.published().alist(), list[Book])
    assert_type(await user.books.acreate(title="x", price=1), Book)
    assert_type(await book.tags.acreate(id="00000000-0000-0000-0000-000000000000", name="x"), Tag)
    await book.tags.aadd(tag, tag.id)
    await book.tags.aset([tag])
    await book.tags.aclear()
    await user.books.aadd(book)
    await user.books.aset([book], bulk=False)
    await book.fans.aadd(accounts.models.User(), 3)
    await user.groups.aadd(group, 1)
    assert_type(await user.groups.afirst(), Group | None)
    await Book.tags.through.objects.filter(book=book).acount()
    await book.tags.through.objects.filter(tag=tag).acount()
    print(User.books.rel, User.books.field)
    book.author = user
    book.author = accounts.models.User()
    book.editor = None


async def wrong(book: Book, user: User, tag: Tag, publisher: Publisher) -> None:
    book.author = None  # E: assignment
    book.author = publisher  # E: assignment
    book.author_id = "1"  # E: assignment
    book.editor.username  # E: union-attr
    owner: Publisher = book.author  # E: assignment
    user.books = user.books  # E: assignment
    await user.books.filter(titel="x").alist()  # E: call-arg
    await user.books.acreate(title="x")  # E: call-arg
    await user.books.acreate(title="x", price=1, titel="y")  # E: call-arg
    await user.books.aadd(tag)  # E: arg-type
    await user.books.aadd(1)  # E: arg-type
    await book.tags.aadd(publisher)  # E: arg-type
    await book.tags.aset([publisher])  # E: list-item
    user.boks  # E: attr-defined
    user.books[0]  # E: index
    user.books.publishd()  # E: attr-defined
    User.books.filter(title="x")  # E: attr-defined
    Book.tags.all()  # E: attr-defined
    print(owner)


async def tables_between(book: Book, loan: Loan, witnesses: UserManyManager[Witness]) -> None:
    assert_type(Loan.witnesses.through, type[Witness])
    assert_type(await loan.witnesses.through.objects.filter(note="late").alist(), list[Witness])
    await Loan.witnesses.through.objects.acreate(loan=loan, user_id=1, note="late")
    every: UserManyManager = loan.witnesses
    print(witnesses, every, await anext(aiter(Book.tags.through.objects.filter(book=book))))
    Loan.witnesses.through.objects.filter(noet="late")  # E: call-arg
    Book.tags.through.objects.filtre(book=book)  # E: attr-defined
    await Loan.extras.through.objects.alits()  # E: attr-defined
