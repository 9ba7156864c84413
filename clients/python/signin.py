"""The credentials of azure-identity beyond the client secret.

    signin.py USER

USER_PASSWORD is the user's; IDENTITY and IDENTITY_TOKEN are a managed
identity's object id and its token for api://AzureADTokenExchange. The last line
printed is the report, a JSON object.
"""

import base64
import datetime
import json
import os
import stat
import sys
import tempfile

import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    DeviceCodeCredential,
    InteractiveBrowserCredential,
    UsernamePasswordCredential,
    WorkloadIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

user, password = sys.argv[1], os.environ["USER_PASSWORD"]
tenant = os.environ["AZURE_TENANT_ID"]
ARM = "https://management.azure.com/.default"


def certificate():
    """A self-signed certificate: its PEM with the key, and its DER."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sign-in")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem + cert.public_bytes(serialization.Encoding.PEM), cert.public_bytes(serialization.Encoding.DER)


owner = ClientSecretCredential(tenant, os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"])
graph = requests.Session()
graph.headers["Authorization"] = "Bearer " + owner.get_token("https://graph.microsoft.com/.default").token


def post(path, body):
    answer = graph.post("https://graph.microsoft.com/v1.0" + path, json=body)
    answer.raise_for_status()
    return answer.json()


def who(credential, *scopes):
    """The claims of a token that say who it is."""
    try:
        token = credential.get_token(*(scopes or (ARM,))).token
    except ClientAuthenticationError as e:
        return str(e)
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return [claims.get("upn") or claims["appid"], claims["appidacr"], claims["aud"]]


pem, der = certificate()
app = post("/applications", {
    "displayName": "py-signin",
    "keyCredentials": [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.b64encode(der).decode()}],
})
client = app["appId"]
post("/servicePrincipals", {"appId": client})
post(f"/applications/{app['id']}/federatedIdentityCredentials", {
    "name": "identity", "issuer": f"https://login.microsoftonline.com/{tenant}/v2.0", "subject": os.environ["IDENTITY"],
    "audiences": ["api://AzureADTokenExchange"],
})
report = {"client": client}
report["certificate"] = who(CertificateCredential(tenant, client, certificate_data=pem))
report["chain"] = who(CertificateCredential(tenant, client, certificate_data=pem, send_certificate_chain=True))
report["strange"] = who(CertificateCredential(tenant, client, certificate_data=certificate()[0]))
report["assertion"] = who(ClientAssertionCredential(tenant, client, lambda: os.environ["IDENTITY_TOKEN"]))
with tempfile.NamedTemporaryFile("w") as f:
    f.write(os.environ["IDENTITY_TOKEN"])
    f.flush()
    report["workload"] = who(WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=f.name))
report["mismatch"] = who(ClientAssertionCredential(tenant, os.environ["AZURE_CLIENT_ID"], lambda: os.environ["IDENTITY_TOKEN"]))

by_password = UsernamePasswordCredential("04b07795-8ddb-461a-bbee-02f9e1bf7b46", user, password, tenant_id=tenant)
report["password"] = who(by_password)
report["refreshed"] = who(by_password, "https://storage.azure.com/.default")
report["wrong"] = who(UsernamePasswordCredential("04b07795-8ddb-461a-bbee-02f9e1bf7b46", user, "wrong", tenant_id=tenant))


def at_the_page(address, code, _):
    answer = requests.post(address, data={"code": code, "login": user, "passwd": password}, timeout=10)
    answer.raise_for_status()


report["device"] = who(DeviceCodeCredential(prompt_callback=at_the_page))

# A browser, not waited for, that fills in the sign-in page and follows where it leads.
with tempfile.TemporaryDirectory() as folder:
    browser = os.path.join(folder, "browser")
    with open(browser, "w") as f:
        f.write(f"#!{sys.executable}\n" + '''
import html, os, re, sys, requests
page = requests.get(sys.argv[1], timeout=10)
back = requests.post(page.url, data={"login": os.environ["SIGN_IN_AS"], "passwd": os.environ["USER_PASSWORD"]}, timeout=10)
if back.ok and "<form" in back.text:
    action = html.unescape(re.search('action="([^"]*)"', back.text).group(1))
    fields = {html.unescape(n): html.unescape(v) for n, v in re.findall('name="([^"]*)" value="([^"]*)"', back.text)}
    requests.post(action, data=fields, timeout=10)
''')
    os.chmod(browser, stat.S_IRWXU)
    os.environ["BROWSER"], os.environ["SIGN_IN_AS"] = browser + " %s &", user
    report["browser"] = who(InteractiveBrowserCredential(tenant_id=tenant, timeout=30))
print(json.dumps(report))
