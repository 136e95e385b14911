"""What a site built with Wagtail asks: right lines, which are also run, and wrong ones."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import home.models
from django.db.models import Count, Prefetch, Q
from facades.auth import Group, User
from facades.home import BlogPage, BlogPageLink, BlogPageQ, BlogPageQuerySet
from facades.taggit import Tag
from facades.wagtailcore import Collection, Locale, Page, PageQuerySet, Revision, Site
from facades.wagtailimages import Image, Rendition
from facades.wagtailredirects import Redirect
from typing_extensions import assert_type
from wagtail.blocks import StreamValue


async def right() -> None:
    page = await BlogPage.objects.order_by("pk").aearliest("pk")
    assert_type(page, BlogPage)
    assert_type(page.title, str)
    assert_type(page.intro, str)
    assert_type(page.body, StreamValue)
    assert_type(page.published_on, date | None)
    assert_type(page.first_published_at, datetime | None)
    assert_type(page.translation_key, UUID)
    assert_type(page.locale_id, int)
    assert_type(page.cover_id, int | None)
    assert_type(page.page_ptr_id, int)
    assert_type(Page.objects.live(), PageQuerySet[Page])
    assert_type(Page.objects.filter(live=True).in_menu(), PageQuerySet[Page])
    assert_type(
        BlogPage.objects.filter(intro__icontains="x").order_by("-published_on"), BlogPageQuerySet[BlogPage]
    )
    assert_type(await BlogPage.objects.filter(tags__name__in=["x"]).alist(), list[BlogPage])
    assert_type(await BlogPage.objects.filter(locale__language_code="en").acount(), int)
    assert_type(await BlogPage.objects.filter(BlogPageQ(title="x") | Q(live=True)).afirst(), BlogPage | None)
    assert_type(
        await BlogPage.objects.filter(owner__username="x", cover__title__icontains="y").aexists(), bool
    )
    assert_type(await Page.objects.values_list("title", flat=True).alist(), list[str])
    assert_type(await Page.objects.values_list("owner__username", flat=True).alist(), list[str | None])
    assert_type([link async for link in page.links.all()], list[BlogPageLink])
    assert_type(await page.tags.filter(slug="x").alist(), list[Tag])
    assert_type(await Image.objects.filter(collection__name="Root").afirst(), Image | None)
    assert_type([image.width async for image in Image.objects.all()], list[int])
    assert_type(await Rendition.objects.filter(image__title="x", filter_spec="y").acount(), int)
    assert_type(await Revision.objects.filter(created_at__year__gte=2020).alist(), list[Revision])
    assert_type((await Site.objects.select_related("root_page").aget(is_default_site=True)).root_page, Page)
    assert_type(await Redirect.objects.filter(redirect_page__live=True).alist(), list[Redirect])
    assert_type(await Locale.objects.aget_or_create(language_code="fr"), tuple[Locale, bool])
    assert_type(await Collection.objects.order_by("path").alist(), list[Collection])
    assert_type(await User.objects.filter(is_active=True, groups__name="Editors").alist(), list[User])
    assert_type(await User.objects.acreate_user("guest"), User)
    assert_type(await Group.objects.values_list("name", flat=True).alist(), list[str])
    counted: Any = await BlogPage.objects.annotate(links_count=Count("links")).afirst()
    assert counted is not None
    await BlogPage.objects.prefetch_related("links", Prefetch("tagged_items")).alist()
    await BlogPage.objects.filter(pk=0).aupdate(intro="x", published_on=date(2020, 1, 1))
    await (
        Page.objects.filter(depth=1).select_related("owner", "latest_revision").defer("search_description").alist()
    )
    assert_type(await BlogPage.objects.filter(cover=None).order_by("?", "title").alast(), BlogPage | None)
    assert_type(await page.afetch("locale"), Locale)


async def wrong(page: BlogPage, image: Image, base: home.models.BlogPage) -> None:
    BlogPage.objects.filter(titel="x")  # E: call-arg
    BlogPage.objects.filter(intro__icontain="x")  # E: call-arg
    BlogPage.objects.filter(title=1)  # E: arg-type
    BlogPage.objects.filter(published_on="2020-01-01")  # E: arg-type
    BlogPage.objects.filter(locale__language_cod="en")  # E: call-arg
    BlogPage.objects.filter(cover=page)  # E: arg-type
    BlogPage.objects.filter(tags__name=3)  # E: arg-type
    Page.objects.order_by("titel")  # E: arg-type
    Page.objects.filter(intro="x")  # E: call-arg
    Page.objects.lives()  # E: attr-defined
    Page.objects.select_related("ownr")  # E: arg-type
    BlogPage.objects.prefetch_related("link")  # E: arg-type
    Page.objects.values_list("titel", flat=True)  # E: call-overload
    page.titel  # E: attr-defined
    page.cover.title  # E: union-attr
    title: int = page.title  # E: assignment
    page.locale = image  # E: assignment
    page.live = "x"  # E: assignment
    Image.objects.filter(width="wide")  # E: arg-type
    await Site.objects.aget(hostnam="x")  # E: call-arg
    await Locale.objects.acreate(language="fr")  # E: call-arg
    await BlogPage.objects.aupdate(intro=3)  # E: arg-type
    await page.links.acreate(ulr="x")  # E: call-arg
    await page.links.aadd(image)  # E: arg-type
    (await BlogPage.objects.afirst()).title  # E: union-attr
    User.objects.filter(groups__nam="x")  # E: call-arg
    print(title, base)
