"""The secrets of a key vault, with azure-keyvault-secrets:
    python vaultsecrets.py VAULT NAME
The caller may do everything with the vault's secrets. Each step adds to the
report; the last line printed is the report, a JSON object."""

import json
import sys
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient


def failure(call):
    try:
        call()
    except HttpResponseError as error:
        inner = error.error.innererror if error.error and error.error.innererror else {}
        return [type(error).__name__, error.status_code, error.error.code, inner.get("code")]
    return "no failure"


def main(vault, name):
    url = f"https://{vault}.vault.azure.net/"
    client = SecretClient(vault_url=url, credential=DefaultAzureCredential())
    report = {}
    expires = datetime(2020, 1, 1, tzinfo=timezone.utc)
    first = client.set_secret(name, "one", content_type="text/plain", tags={"team": "a"}, expires_on=expires, not_before=datetime.now(timezone.utc) + timedelta(days=1))
    report["set"] = [first.name, first.value, first.properties.content_type, first.properties.tags, first.properties.enabled, first.properties.recovery_level, first.properties.recoverable_days]
    second = client.set_secret(name, "two")
    report["versions differ"] = first.properties.version != second.properties.version
    report["latest"] = client.get_secret(name).value
    # Expired and not valid yet, and given all the same.
    old = client.get_secret(name, first.properties.version)
    report["first"] = [old.value, old.properties.expires_on == expires]
    report["versions"] = len(list(client.list_properties_of_secret_versions(name)))
    changed = client.update_secret_properties(name, second.properties.version, content_type="application/json", tags={"team": "b"}, enabled=False)
    report["changed"] = [changed.content_type, changed.tags, changed.enabled]
    report["disabled"] = failure(lambda: client.get_secret(name))
    client.update_secret_properties(name, enabled=True)
    report["enabled again"] = client.get_secret(name).value
    for i in range(7):
        client.set_secret(f"{name}-{i}", str(i))
    pages = client.list_properties_of_secrets(max_page_size=3).by_page()
    sizes, names = [], []
    for page in pages:
        listed = list(page)
        sizes.append(len(listed))
        names += [p.name for p in listed]
    report["pages"] = [max(sizes), len([n for n in names if n.startswith(name)])]
    backup = client.backup_secret(name)
    report["exists"] = failure(lambda: client.restore_secret_backup(backup))
    deleted = client.begin_delete_secret(name).result()
    report["deleted"] = [deleted.name, deleted.recovery_id.endswith(f"/deletedsecrets/{name}"), (deleted.scheduled_purge_date - deleted.deleted_date).days]
    report["gone"] = failure(lambda: client.get_secret(name))
    report["name kept"] = failure(lambda: client.set_secret(name, "three"))
    report["deleted listed"] = [p.name for p in client.list_deleted_secrets() if p.name == name]
    report["shown deleted"] = client.get_deleted_secret(name).name
    recovered = client.begin_recover_deleted_secret(name).result()
    report["recovered"] = [recovered.name, client.get_secret(name).value]
    client.begin_delete_secret(name).result()
    client.purge_deleted_secret(name)
    report["purged"] = failure(lambda: client.get_deleted_secret(name))
    client.restore_secret_backup(backup)
    report["restored"] = [client.get_secret(name).value, len(list(client.list_properties_of_secret_versions(name)))]
    report["bad name"] = failure(lambda: client.set_secret("not_a_name", "x"))
    report["too large"] = failure(lambda: client.set_secret(name, "x" * (25 * 1024 + 1)))
    report["no version"] = failure(lambda: client.get_secret(name, "0" * 32))
    client.set_secret(name, "x" * (25 * 1024))
    print(json.dumps(report))


main(*sys.argv[1:])
