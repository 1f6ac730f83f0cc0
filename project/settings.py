"""Every setting of the project, read from the environment once, at start.

The names and their defaults are listed in `.env.example`.
"""

from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from project import env
from realtime.core.limits import DialectLimits

BASE_DIR = Path(__file__).resolve().parent.parent
env.load_file(BASE_DIR / ".env")

# --- Who may run this, and how -------------------------------------------------------

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.secret("SECRET_KEY", debug=DEBUG)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
ALLOWED_ORIGINS = env.words("ALLOWED_ORIGINS", "*")
CSRF_TRUSTED_ORIGINS = [origin for origin in ALLOWED_ORIGINS if "://" in origin]

# --- Tokens ---------------------------------------------------------------------------

JWT_SECRET_KEY = env.secret("JWT_SECRET_KEY", debug=DEBUG)
JWT_ISSUER = env.text("JWT_ISSUER", "Justina_Backend")
JWT_LIFETIME = timedelta(seconds=env.integer("JWT_LIFETIME_SECONDS", 86_400, least=1))
JWT_REFRESH_LIFETIME = timedelta(seconds=env.integer("JWT_REFRESH_SECONDS", 7 * 86_400, least=1))
JWT_DEVICE_LIFETIME = timedelta(
    seconds=env.integer("JWT_DEVICE_LIFETIME_SECONDS", 365 * 86_400, least=1)
)

# --- The gateway ----------------------------------------------------------------------


# Below this the bytes saved are not worth the processor's time, on either side.
DEFLATE_BYTES = 512


def _limits(dialect: str, defaults: DialectLimits) -> DialectLimits:
    """Read `VITALWIRE_<DIALECT>_<LIMIT>` for every limit there is; 0 switches one off."""
    return DialectLimits(
        **{
            name: env.integer(f"VITALWIRE_{dialect}_{name.upper()}", getattr(defaults, name))
            for name in DialectLimits.__struct_fields__
        }
    )


DIALECT_LIMITS = {
    "surgery": _limits(
        "SURGERY",
        # A surgeon has no message rate but TCP's; a frame of the document is under 200 bytes.
        DialectLimits(message_bytes=8 * 1024, frame_bytes=8 * 1024, deflate_bytes=DEFLATE_BYTES),
    ),
    "telemetry": _limits(
        "TELEMETRY",
        # Source: seed 001, "Rate Limiting".
        DialectLimits(
            connections_per_user=100,
            connections_total=1_000,
            connections_per_minute=10,
            messages_per_second=100,
            message_bytes=1024,
            frame_bytes=64 * 1024,
            batch_items=50,
            deflate_bytes=DEFLATE_BYTES,
        ),
    ),
    "pubsub": _limits(
        "PUBSUB",
        DialectLimits(
            connections_per_user=100,
            messages_per_second=100,
            message_bytes=64 * 1024,
            frame_bytes=1024 * 1024,
            deflate_bytes=DEFLATE_BYTES,
            batch_items=50,
        ),
    ),
}
CONNECTIONS_PER_ADDRESS = env.integer("VITALWIRE_CONNECTIONS_PER_ADDRESS", 0)
HANDSHAKES_PER_ADDRESS_PER_MINUTE = env.integer("VITALWIRE_HANDSHAKES_PER_ADDRESS_PER_MINUTE", 0)
REFUSED_ATTEMPTS_KEPT = env.integer("VITALWIRE_REFUSED_ATTEMPTS_KEPT", 10_000, least=1)
REFUSED_PER_ADDRESS_ALERT = env.integer("VITALWIRE_REFUSED_PER_ADDRESS_ALERT", 100)
# Generous: a hospital is one address. It bounds what guessing at many names can try.
LOGINS_PER_ADDRESS_PER_MINUTE = env.integer("VITALWIRE_LOGINS_PER_ADDRESS_PER_MINUTE", 300)
AUTH_TIMEOUT_SECONDS = env.integer("VITALWIRE_AUTH_TIMEOUT_SECONDS", 10, least=1)
STALLED_SECONDS = env.integer("VITALWIRE_STALLED_SECONDS", 60, least=1)
SURGERY_GRACE_SECONDS = env.integer("VITALWIRE_SURGERY_GRACE_SECONDS", 60, least=1)
DEVICE_SILENCE_SECONDS = env.integer("VITALWIRE_DEVICE_SILENCE_SECONDS", 120, least=1)
COMMAND_SECONDS = env.integer("VITALWIRE_COMMAND_SECONDS", 3_600, least=1)
READING_DAYS = env.integer("VITALWIRE_READING_DAYS", 30, least=1)
ROLLUP_DAYS = env.integer("VITALWIRE_ROLLUP_DAYS", 730, least=1)
JOURNAL_DAYS = env.integer("VITALWIRE_JOURNAL_DAYS", 7, least=1)
QUEUED_DAYS = env.integer("VITALWIRE_QUEUED_DAYS", 7, least=1)
QUEUED_PER_USER = env.integer("VITALWIRE_QUEUED_PER_USER", 1_000)
CALL_THREADS = env.integer("VITALWIRE_CALL_THREADS", 8, least=2, most=64)
HEADER_SECONDS = env.integer("VITALWIRE_HEADER_SECONDS", 15, least=1)
HTTP_BODY_BYTES = env.integer("VITALWIRE_HTTP_BODY_BYTES", 2 * 1024 * 1024, least=1024)

# Stored files: of one file and of one area (a user's, a session's, the public one).
FILE_BYTES = env.integer("VITALWIRE_FILE_BYTES", 10 * 1024 * 1024, least=1)
FILE_AREA_BYTES = env.integer("VITALWIRE_FILE_AREA_BYTES", 100 * 1024 * 1024, least=1)
FILES_PER_AREA = env.integer("VITALWIRE_FILES_PER_AREA", 1_000, least=1)
_in_folder = "django.core.files.storage.FileSystemStorage"
_files_backend = env.text("VITALWIRE_FILES_BACKEND", _in_folder)
_files_root = env.text("VITALWIRE_FILES_ROOT", str(BASE_DIR / "var" / "files"))
_files_options = env.json_object("VITALWIRE_FILES_OPTIONS")
if _files_backend == _in_folder:
    # Private: nothing is served from there, and no other account of the machine reads it.
    _files_options = {
        "location": _files_root,
        "file_permissions_mode": 0o600,
        "directory_permissions_mode": 0o700,
        **_files_options,
    }

# --- Applications ---------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.import_export",
    "import_export",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "corsheaders",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "accounts",
    "devices",
    "realtime",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "realtime.dashboard.policy.PolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "accounts.throttle.RefusalMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "realtime.dashboard.context.doors",
            ],
        },
    },
]

# --- Database -------------------------------------------------------------------------

DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
_database = DATABASES["default"]
_database["CONN_MAX_AGE"] = 0
if _database["ENGINE"].endswith("sqlite3"):
    SQLITE_SYNCHRONOUS = env.choice("SQLITE_SYNCHRONOUS", "NORMAL", {"NORMAL", "FULL"})
    # Readings touch the same few pages again and again: with room for them (16 MB each, in 4 KB
    # pages) they are read once, and go from the log into the file a quarter as often.
    _pragmas = {
        "journal_mode": "WAL",
        "synchronous": SQLITE_SYNCHRONOUS,
        "wal_autocheckpoint": "4000",
        "cache_size": "-16384",
    }
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": " ".join(f"PRAGMA {name}={value};" for name, value in _pragmas.items()),
    }
    # A test database in memory is shared badly between threads: a file behaves like the real one.
    _database["TEST"] = {"NAME": env.text("TEST_SQLITE_NAME", str(BASE_DIR / "test.sqlite3"))}
else:
    _database["OPTIONS"] = {
        "pool": {"min_size": 2, "max_size": CALL_THREADS + 16, "timeout": 5},
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Between processes ----------------------------------------------------------------

REDIS_URL = env.text("REDIS_URL")
# Redis shares its channels between all its databases: two deployments need two prefixes.
REDIS_PREFIX = env.text("REDIS_PREFIX", "vitalwire")
if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            # redis-py 8 gives sockets a timeout of 5 s, which cuts idle subscribers; None is safe.
            "CONFIG": {
                "hosts": [{"address": REDIS_URL, "socket_timeout": None}],
                "prefix": REDIS_PREFIX,
            },
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# --- People ---------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "accounts.throttle.AddressLimit",
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "accounts.hashing.ThriftyArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=1)
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "accounts.throttle.explain_lockout"
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_VERBOSE = False
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG

# The account of `manage.py run_analyst`; `seed_demo` makes it with this password.
IA_USERNAME = env.text("IA_USERNAME", "ia_justina")
IA_PASSWORD = env.text("IA_PASSWORD", "ia_secret_2024" if DEBUG else "")

# --- REST -----------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.api.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "accounts.api.explain_error",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Vitalwire",
    "DESCRIPTION": (
        "REST beside the four realtime protocols. What the WebSocket endpoints say and hear:"
        " [/api/asyncapi/](/api/asyncapi/)."
    ),
    "VERSION": "1.0.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "AlertStatusEnum": "devices.models.Alert.Status",
        "CommandStatusEnum": "devices.models.Command.Status",
        "DeviceStatusEnum": "devices.models.Device.Status",
        "SurgeryStatusEnum": "devices.models.Surgery.Status",
    },
}
CORS_ALLOW_ALL_ORIGINS = "*" in ALLOWED_ORIGINS
CORS_ALLOWED_ORIGINS = CSRF_TRUSTED_ORIGINS
CORS_ALLOW_CREDENTIALS = not CORS_ALLOW_ALL_ORIGINS
CORS_URLS_REGEX = r"^/api/.*$"
DATA_UPLOAD_MAX_MEMORY_SIZE = HTTP_BODY_BYTES

# --- Pages ----------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS: list[Path] = []
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "realtime.dashboard.assets.PackageAssetFinder",
]
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
# Before collectstatic has run a page lacks its style; it should not be a 500 as well.
WHITENOISE_MANIFEST_STRICT = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "files": {"BACKEND": _files_backend, "OPTIONS": _files_options},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "realtime.dashboard.assets.HashedStaticFilesStorage"
    },
}
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

CONTENT_SECURITY_POLICY = {
    # The admin's theme needs more than this; `realtime/dashboard/policy.py` grants it there.
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        # Plotly styles its tool bar with inline style elements.
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "connect-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
    },
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

UNFOLD = {
    "SITE_TITLE": "Vitalwire",
    "SITE_HEADER": "Vitalwire",
    "SITE_URL": "/dashboard/",
    "SITE_ICON": lambda request: static("realtime/mark.svg"),
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("realtime/mark.svg"),
        }
    ],
}

# --- Logs -----------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "vitalwire": {"level": env.text("LOG_LEVEL", "INFO")},
        # Switched in the admin, for some users or connections, and silent otherwise.
        "vitalwire.messages": {"level": "INFO"},
        "axes": {"level": "ERROR"},
        # While Redis is away, a traceback a second; vitalwire.broker says so once.
        "channels_redis.pubsub": {"level": "CRITICAL"},
        # Anybody can send a foreign Host header; the answer 400 says all there is to say.
        "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},
    },
}

if "*" in ALLOWED_HOSTS and not DEBUG:
    raise ImproperlyConfigured("ALLOWED_HOSTS='*' with DEBUG off: name the hosts you serve.")
