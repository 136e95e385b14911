"""What a shop built with django-oscar asks: right lines, which are also run, and wrong ones."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Avg, Prefetch, Q, Sum
from facades.address import Country, UserAddress
from facades.auth import User
from facades.basket import Basket
from facades.basket import Line as BasketLine
from facades.catalogue import Category, Product, ProductClass, ProductImage, ProductQ, ProductQuerySet
from facades.offer import ConditionalOffer, PercentageDiscountBenefit, Range
from facades.order import Line, Order, OrderQuerySet, ShippingAddress
from facades.partner import Partner, StockRecord
from facades.reviews import ProductReview
from facades.voucher import Voucher
from facades.wishlists import WishList
from typing_extensions import assert_type


async def right() -> None:
    product = await Product.objects.order_by("pk").aearliest("pk")
    assert_type(product, Product)
    assert_type(product.upc, str | None)
    assert_type(product.title, str)
    assert_type(product.rating, float | None)
    assert_type(product.parent_id, int | None)
    assert_type(product.date_created, datetime)
    assert_type(Product.objects.browsable(), ProductQuerySet[Product])
    assert_type(
        Product.objects.filter(is_public=True).browsable().order_by("-date_created"), ProductQuerySet[Product]
    )
    assert_type(
        await Product.objects.filter(ProductQ(title__icontains="x") | Q(upc="y")).alist(), list[Product]
    )
    assert_type(await Product.objects.filter(product_class__name="Book", categories__slug="x").acount(), int)
    assert_type(await Product.objects.filter(stockrecords__price__lt=Decimal(10)).afirst(), Product | None)
    assert_type(await Product.objects.filter(parent=None, children__isnull=False).aexists(), bool)
    assert_type([image async for image in product.images.order_by("display_order")], list[ProductImage])
    assert_type(await product.stockrecords.filter(num_in_stock__gt=0).alist(), list[StockRecord])
    assert_type(await product.categories.alist(), list[Category])
    assert_type(await product.reviews.aaggregate(Avg("score")), dict[str, Any])
    assert_type(await Product.objects.values_list("title", flat=True).alist(), list[str])
    assert_type(await Product.objects.values_list("product_class__name", flat=True).alist(), list[str | None])
    order = await Order.objects.select_related("user", "shipping_address").aearliest("pk")
    assert_type(order.number, str)
    assert_type(order.total_incl_tax, Decimal)
    assert_type(order.user_id, int | None)
    assert_type([line async for line in order.lines.select_related("product")], list[Line])
    assert_type(Order.objects.filter(user__email="x", date_placed__year=2020), OrderQuerySet[Order])
    assert_type(await Order.objects.filter(lines__title="x").alist(), list[Order])
    assert_type(await Basket.objects.filter(status=Basket.OPEN, owner=None).afirst(), Basket | None)
    assert_type(await BasketLine.objects.filter(basket__status="Open").alist(), list[BasketLine])
    assert_type(
        await StockRecord.objects.select_related("partner").filter(partner__code="x").alist(),
        list[StockRecord],
    )
    assert_type(await Partner.objects.filter(users__username="x").alist(), list[Partner])
    assert_type(await UserAddress.objects.filter(country__iso_3166_1_a2="GB").alist(), list[UserAddress])
    assert_type(
        await Country.objects.aget_or_create(iso_3166_1_a2="XX", defaults={"name": "x"}), tuple[Country, bool]
    )
    assert_type(await PercentageDiscountBenefit.objects.alist(), list[PercentageDiscountBenefit])
    assert_type(await Range.objects.filter(name="x").afirst(), Range | None)
    assert_type(await ConditionalOffer.objects.filter(benefit__type="x").acount(), int)
    assert_type(
        await ProductReview.objects.filter(score__gte=3, user__is_staff=False).alist(), list[ProductReview]
    )
    assert_type(await Voucher.objects.filter(code="X").aexists(), bool)
    assert_type(await WishList.objects.filter(owner__username="x").alist(), list[WishList])
    spent: Any = await User.objects.annotate(spent=Sum("orders__total_incl_tax")).afirst()
    assert spent is not None
    await Product.objects.prefetch_related("images", Prefetch("stockrecords")).only("title", "slug").alist()
    await Product.objects.filter(pk=0).aupdate(title="x", rating=None)
    await ProductClass.objects.filter(pk=0).aupdate(requires_shipping=False)
    await ShippingAddress.objects.filter(postcode__icontains="x").alist()


async def wrong(product: Product, order: Order, country: Country) -> None:
    Product.objects.filter(titel="x")  # E: call-arg
    Product.objects.filter(title__icontain="x")  # E: call-arg
    Product.objects.filter(upc=3)  # E: arg-type
    Product.objects.filter(stockrecords__price="x")  # E: arg-type
    Product.objects.filter(product_class__nam="x")  # E: call-arg
    Product.objects.filter(parent=order)  # E: arg-type
    Product.objects.browseable()  # E: attr-defined
    Product.objects.order_by("-date_create")  # E: arg-type
    Product.objects.select_related("images")  # E: arg-type
    Product.objects.prefetch_related("imags")  # E: arg-type
    Product.objects.values_list("titel", flat=True)  # E: call-overload
    product.titel  # E: attr-defined
    product.parent.title  # E: union-attr
    product.is_public = "x"  # E: assignment
    total: float = order.number  # E: assignment
    order.user.email  # E: union-attr
    Order.objects.filter(number=1)  # E: arg-type
    Order.objects.filter(date_placed__year="x")  # E: arg-type
    Order.objects.filter(lines__quantity="x")  # E: arg-type
    await Order.objects.aget(nmber="x")  # E: call-arg
    await Country.objects.acreate(iso="GB")  # E: call-arg
    await Country.objects.aget_or_create(iso_3166_1_a2="XX", defaults={"nam": "x"})  # E: typeddict-unknown-key
    await Product.objects.aupdate(title=None)  # E: arg-type
    await order.lines.filter(quantiti=1).alist()  # E: call-arg
    await product.images.aadd(country)  # E: arg-type
    Basket.objects.filter(owner=product)  # E: arg-type
    User.objects.filter(orders__number=3)  # E: arg-type
    print(total)
