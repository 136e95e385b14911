from turbo_orm import atomic
from tests.project.library.models import Author, Book

async def test_it():
    a = await Author.objects.acreate(name="x")
    assert await Author.objects.acount() == 1
    async with atomic():
        await Book.objects.acreate(title="t", author=a)
    assert await a.books.acount() == 1
