"""What planned querysets of related managers answer."""

from __future__ import annotations

from tests.project.library.models import Author, Book, Tag


async def test_values_of_a_related_manager():
    """Only instances are given the object their manager belongs to."""
    for name in "abcd":  # the shapes are noted first, and get their plans then
        author = await Author.objects.acreate(name=name)
        book = await author.books.acreate(title=f"by {name}")
        await book.tags.aadd(await Tag.objects.acreate(label=name))
        assert await author.books.values_list("title", flat=True).alist() == [f"by {name}"]
        assert await author.books.values("title").alist() == [{"title": f"by {name}"}]
        assert await author.books.values_list("title", "author").aget() == (f"by {name}", author.pk)
        assert (await author.books.values_list("title", named=True).afirst()).title == f"by {name}"
        assert await book.tags.values_list("label", flat=True).alist() == [name]
        (found,) = await author.books.alist()
        assert found.author is author
        assert (await author.books.aget()).author is author
    assert await Book.objects.acount() == 4
