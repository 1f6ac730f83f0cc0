"""The roles of the documents, each with its group; their permissions come after migrating."""

from django.db import migrations

from accounts import roles


def create_shipped_roles(apps, schema_editor):
    roles.create_missing(apps, schema_editor.connection.alias)


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(create_shipped_roles, migrations.RunPython.noop),
    ]
