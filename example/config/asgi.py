"""The application an ASGI server runs. It opens the connection pools at start-up and closes them at shutdown."""

import os

from turbo_orm.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_asgi_application()
