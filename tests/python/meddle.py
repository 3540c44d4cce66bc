"""What somebody else does to the zone `example.com` and to its account, with Cloudflare's own SDK for Python.

Usage: meddle.py STEP...; the endpoint, the token and the account come from the environment.
"""

import json
import os
import sys

from cloudflare import Cloudflare

ACCOUNT = os.environ["CLOUDFLARE_ACCOUNT_ID"]
CACHE = "http_request_cache_settings"
client = Cloudflare(api_token=os.environ["CLOUDFLARE_API_TOKEN"], base_url=os.environ["CLOUDFLARE_BASE_URL"])
zone = client.zones.list(name="example.com").result[0].id
records = client.dns.records
services = client.connectivity.directory.services


def record(name, sort):
    return next(r for r in records.list(zone_id=zone, name={"exact": name}) if r.type == sort)


def entrypoint():
    found = client.rulesets.phases.get(CACHE, zone_id=zone)
    return found if isinstance(found, dict) else json.loads(found.to_json())


def rule(reference):
    return next(r for r in entrypoint()["rules"] if r["ref"].startswith(reference))


def theirs():
    """Records and a rule of their own, some beside ours."""
    records.create(zone_id=zone, type="A", name="theirs", content="192.0.2.77", ttl=300, comment="hands off")
    records.create(zone_id=zone, type="TXT", name="example.com", content="theirs=1", ttl=1)
    client.rulesets.phases.update(CACHE, zone_id=zone, rules=[
        {"action": "set_cache_settings", "expression": "(http.host eq \"theirs\")", "description": "first", "action_parameters": {"cache": True}},
        {"action": "set_cache_settings", "expression": "(http.host eq \"last\")", "description": "last", "action_parameters": {"cache": False}},
    ])


def change_records():
    """Our records, changed and deleted."""
    www = record("www.example.com", "A")
    records.edit(dns_record_id=www.id, zone_id=zone, type="A", name="www.example.com", content="192.0.2.99", ttl=600)
    mail = record("example.com", "MX")
    records.edit(dns_record_id=mail.id, zone_id=zone, type="MX", name="example.com", content="mx.example.com", priority=1, ttl=1)
    records.delete(dns_record_id=record("cdn.example.com", "CNAME").id, zone_id=zone)


def change_rules():
    """Our first rule says something else, and stands last."""
    ours = rule("trunkline:production/cache_rule.static")
    client.rulesets.rules.edit(
        ours["id"], ruleset_id=entrypoint()["id"], zone_id=zone, action="set_cache_settings", expression="true", ref=ours["ref"],
        action_parameters={"cache": True, "origin_error_page_passthru": True}, position={"after": ""},
    )


def change_domain():
    """The host of ours goes to another Worker."""
    client.workers.domains.update(account_id=ACCOUNT, hostname="app.example.com", service="other", zone_id=zone)


def change_buckets():
    """Our buckets, each of the other storage class."""
    for name, storage in (("media-production", "InfrequentAccess"), ("archive-production", "Standard")):
        client.r2.buckets.edit(name, account_id=ACCOUNT, storage_class=storage)


def change_services():
    """Our private services lead elsewhere."""
    for service in services.list(account_id=ACCOUNT):
        host = json.loads(service.host.to_json())
        host.update({"ipv4": "10.9.9.9"} if "ipv4" in host else {"hostname": "elsewhere.internal"})
        ports = {"http_port": 9999} if service.type == "http" else {"tcp_port": 9999}
        services.update(service.service_id, account_id=ACCOUNT, name=service.name, type=service.type, host=host, **ports)


def make_theirs():
    """A bucket, a service and a namespace of their own."""
    client.r2.buckets.create(account_id=ACCOUNT, name="theirs")
    tunnel = next(iter(client.zero_trust.tunnels.cloudflared.list(account_id=ACCOUNT, is_deleted=False)))
    host = {"ipv4": "10.0.0.99", "network": {"tunnel_id": tunnel.id}}
    services.create(account_id=ACCOUNT, name="theirs", type="http", http_port=80, host=host)
    client.workers_for_platforms.dispatch.namespaces.create(account_id=ACCOUNT, name="theirs")


def delete_services():
    for service in services.list(account_id=ACCOUNT):
        if service.name != "theirs":
            services.delete(service.service_id, account_id=ACCOUNT)


def delete_certificates():
    """A certificate cannot be changed: it is taken away."""
    for certificate in client.mtls_certificates.list(account_id=ACCOUNT):
        client.mtls_certificates.delete(certificate.id, account_id=ACCOUNT)


def delete_namespaces():
    client.workers_for_platforms.dispatch.namespaces.delete("customers-production", account_id=ACCOUNT)


def show():
    """What is there, without what changes by itself."""
    def kept(r):
        return {k: r[k] for k in ("id", "name", "type", "content", "ttl", "comment")}
    rules = [{k: v for k, v in r.items() if k != "last_updated"} for r in entrypoint()["rules"]]
    print(json.dumps({"records": [kept(json.loads(r.to_json())) for r in records.list(zone_id=zone)], "rules": rules}))


for step in sys.argv[1:]:
    globals()[step]()
