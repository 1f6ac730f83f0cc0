"""The journal's one head row, with an epoch of its own for every database."""

import secrets

from django.db import migrations


def make_head(apps, schema_editor):
    apps.get_model("realtime", "JournalHead").objects.create(
        id=1, epoch=secrets.token_hex(4), position=0
    )


class Migration(migrations.Migration):
    dependencies = [("realtime", "0001_initial")]
    operations = [migrations.RunPython(make_head, migrations.RunPython.noop)]
