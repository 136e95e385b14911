"""Pages as a site defines them: Wagtail's page, extended in tables of their own."""

from __future__ import annotations

from django.db import models
from modelcluster.contrib.taggit import ClusterTaggableManager
from modelcluster.fields import ParentalKey
from taggit.models import TaggedItemBase
from wagtail.blocks import CharBlock
from wagtail.fields import RichTextField, StreamField
from wagtail.models import Orderable, Page


class BlogPageTag(TaggedItemBase):
    content_object = ParentalKey("BlogPage", related_name="tagged_items")


class BlogPage(Page):
    """An article."""

    intro = models.CharField(max_length=250, help_text="One sentence.")
    text = RichTextField(blank=True)
    body = StreamField([("heading", CharBlock())], blank=True)
    published_on = models.DateField(null=True)
    cover = models.ForeignKey("wagtailimages.Image", models.SET_NULL, null=True, related_name="+")
    tags = ClusterTaggableManager(through=BlogPageTag, blank=True)


class BlogPageLink(Orderable):
    page = ParentalKey(BlogPage, related_name="links")
    url = models.URLField()
