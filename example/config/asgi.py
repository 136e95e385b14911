"""The application an ASGI server runs. It opens connection pools at start-up, closes them at shutdown."""

import os

from turbo_orm.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_asgi_application()
