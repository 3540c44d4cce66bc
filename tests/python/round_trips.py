"""Whole round trips with Cloudflare's own SDK for Python, against the edge and its stand-in.

Usage: round_trips.py PRODUCT...; the endpoint, the token and the account come from the environment. Each product is made,
listed, read, changed and deleted, and what the SDK shows of it is compared. The first difference ends it.
"""

import json
import os
import sys
from types import SimpleNamespace

import cloudflare
from cloudflare import Cloudflare

ACCOUNT = os.environ["CLOUDFLARE_ACCOUNT_ID"]
CACHE = "http_request_cache_settings"
client = Cloudflare(api_token=os.environ["CLOUDFLARE_API_TOKEN"], base_url=os.environ["CLOUDFLARE_BASE_URL"])


def refused(status, code, call):
    """The call must be refused with this status and code."""
    try:
        call()
    except cloudflare.APIStatusError as error:
        found = (error.status_code, [e["code"] for e in error.response.json()["errors"]])
        assert found == (status, [code]), found
        return
    raise AssertionError(f"not refused with {code}")


def shown(answer):
    """An answer by its fields: the SDK gives a plain dict where the schema says "or anything"."""
    if isinstance(answer, dict):
        return json.loads(json.dumps(answer), object_hook=lambda fields: SimpleNamespace(**fields))
    return answer


def the_zone(name="example.com"):
    return client.zones.list(name=name).result[0].id


def zones():
    made = client.zones.create(account={"id": ACCOUNT}, name="made.example")
    assert made.name == "made.example" and client.zones.get(zone_id=made.id).id == made.id
    refused(400, 1061, lambda: client.zones.create(account={"id": ACCOUNT}, name="made.example"))
    for n in range(25):
        client.zones.create(account={"id": ACCOUNT}, name=f"z{n}.example")
    names = {zone.name for zone in client.zones.list(per_page=10)}
    assert {"made.example", "z0.example", "z24.example"} <= names and len(names) == 26, names
    assert client.zones.list(name="nothing.invalid").result == []
    assert client.zones.delete(zone_id=made.id).id == made.id
    refused(404, 7003, lambda: client.zones.get(zone_id=made.id))


def dns():
    zone, records = the_zone(), client.dns.records
    made = records.create(zone_id=zone, type="A", name="www", content="192.0.2.1", ttl=300, comment="theirs")
    assert (made.name, made.content, made.ttl, made.proxied) == ("www.example.com", "192.0.2.1", 300, False), made
    refused(400, 81058, lambda: records.create(zone_id=zone, type="A", name="WWW.example.com.", content="192.0.2.1", ttl=1))
    refused(400, 81053, lambda: records.create(zone_id=zone, type="CNAME", name="www", content="example.org", ttl=1))
    refused(400, 9005, lambda: records.create(zone_id=zone, type="A", name="bad", content="192.0.2.256", ttl=1))
    refused(400, 9004, lambda: records.create(zone_id=zone, type="MX", name="@", content="mx.example.com", priority=5, ttl=1, proxied=True))
    proxied = records.create(zone_id=zone, type="CNAME", name="cdn", content="Origin.Example.ORG.", ttl=300, proxied=True)
    assert (proxied.content, proxied.ttl) == ("origin.example.org", 1), proxied
    text = records.create(zone_id=zone, type="TXT", name="@", content="v=spf1 -all", ttl=1)
    assert (text.name, text.content) == ("example.com", '"v=spf1 -all"'), text
    service = records.create(
        zone_id=zone, type="SRV", name="_sip._tcp", ttl=1, data={"priority": 10, "weight": 5, "port": 5060, "target": "sip.example.com"}
    )
    assert service.content == "5 5060 sip.example.com" and service.priority == 10, service
    edited = records.edit(dns_record_id=made.id, zone_id=zone, type="A", name="www", content="192.0.2.2", ttl=300)
    assert edited.content == "192.0.2.2" and edited.comment == "theirs", edited
    whole = records.update(dns_record_id=made.id, zone_id=zone, type="A", name="www", content="192.0.2.3", ttl=1)
    assert whole.comment is None and whole.ttl == 1, whole
    assert records.get(dns_record_id=made.id, zone_id=zone).content == "192.0.2.3"
    assert [r.id for r in records.list(zone_id=zone, name={"exact": "www.example.com"}, type="A")] == [made.id]
    assert [r.id for r in records.list(zone_id=zone, content={"contains": "spf1"})] == [text.id]
    for n in range(7):
        records.create(zone_id=zone, type="A", name=f"n{n}", content="192.0.2.9", ttl=1)
    assert len(list(records.list(zone_id=zone, per_page=3))) == 11
    done = records.batch(
        zone_id=zone,
        deletes=[{"id": text.id}],
        patches=[{"id": made.id, "type": "A", "name": "www", "content": "192.0.2.4", "ttl": 1}],
        posts=[{"type": "TXT", "name": "@", "content": "new", "ttl": 1}],
    )
    assert done.deletes[0].id == text.id and done.patches[0].content == "192.0.2.4" and done.posts[0].content == '"new"', done
    # All or nothing: the second of these cannot be.
    refused(400, 81058, lambda: records.batch(zone_id=zone, deletes=[{"id": made.id}], posts=[{"type": "TXT", "name": "@", "content": "new", "ttl": 1}]))
    assert records.get(dns_record_id=made.id, zone_id=zone).content == "192.0.2.4"
    for record in list(records.list(zone_id=zone)):
        assert records.delete(dns_record_id=record.id, zone_id=zone).id == record.id
    refused(404, 81044, lambda: records.get(dns_record_id=made.id, zone_id=zone))


def rulesets():
    zone = the_zone()
    refused(404, 10003, lambda: client.rulesets.phases.get(CACHE, zone_id=zone))
    rule = {"action": "set_cache_settings", "expression": "true", "description": "theirs", "action_parameters": {"cache": True}}
    first = shown(client.rulesets.phases.update(CACHE, zone_id=zone, rules=[rule]))
    assert first.version == "1" and first.kind == "zone" and first.phase == CACHE, first
    refused(400, 20217, lambda: client.rulesets.create(zone_id=zone, kind="zone", name="second", phase=CACHE, rules=[]))
    added = shown(client.rulesets.rules.create(
        first.id, zone_id=zone, action="set_cache_settings", expression="false", ref="mine", action_parameters={"cache": False},
        position={"before": first.rules[0].id},
    ))
    assert added.version == "2" and [r.ref for r in added.rules] == ["mine", first.rules[0].id], added
    mine = added.rules[0].id
    moved = shown(client.rulesets.rules.edit(
        mine, ruleset_id=first.id, zone_id=zone, action="set_cache_settings", expression="false", ref="mine",
        action_parameters={"cache": True}, position={"after": ""},
    ))
    assert moved.version == "3" and moved.rules[1].id == mine and moved.rules[1].version == "2", moved
    assert [r.id for r in client.rulesets.list(zone_id=zone)] == [first.id]
    assert shown(client.rulesets.get(first.id, zone_id=zone)).rules[1].action_parameters.cache is True
    left = shown(client.rulesets.rules.delete(mine, ruleset_id=first.id, zone_id=zone))
    assert left.version == "4" and [r.description for r in left.rules] == ["theirs"], left
    client.rulesets.delete(first.id, zone_id=zone)
    refused(404, 10003, lambda: client.rulesets.phases.get(CACHE, zone_id=zone))


def tunnels():
    tunnels = client.zero_trust.tunnels.cloudflared
    made = tunnels.create(account_id=ACCOUNT, name="origin", config_src="cloudflare")
    assert made.name == "origin" and made.status == "inactive" and made.config_src == "cloudflare", made
    refused(409, 1013, lambda: tunnels.create(account_id=ACCOUNT, name="origin"))
    assert tunnels.token.get(made.id, account_id=ACCOUNT)
    assert tunnels.configurations.get(made.id, account_id=ACCOUNT).config is None
    catch_all = {"service": "http_status:404"}
    rule = {"hostname": "api.example.com", "service": "http://localhost:8080"}
    refused(400, 1056, lambda: tunnels.configurations.update(made.id, account_id=ACCOUNT, config={"ingress": [rule]}))
    for version in (1, 2):
        config = tunnels.configurations.update(made.id, account_id=ACCOUNT, config={"ingress": [rule, catch_all]})
        assert config.version == version and config.config.ingress[0].hostname == "api.example.com", config
    assert tunnels.edit(made.id, account_id=ACCOUNT, name="renamed").name == "renamed"
    assert list(tunnels.connections.get(made.id, account_id=ACCOUNT)) == []
    assert [t.name for t in tunnels.list(account_id=ACCOUNT, is_deleted=False)] == ["renamed"]
    assert tunnels.delete(made.id, account_id=ACCOUNT).deleted_at is not None
    assert list(tunnels.list(account_id=ACCOUNT, is_deleted=False)) == []
    refused(404, 1003, lambda: tunnels.token.get(made.id, account_id=ACCOUNT))


def services():
    tunnel = client.zero_trust.tunnels.cloudflared.create(account_id=ACCOUNT, name="behind")
    services = client.connectivity.directory.services
    host = {"ipv4": "10.0.0.5", "network": {"tunnel_id": tunnel.id}}
    made = services.create(account_id=ACCOUNT, name="engine", type="http", http_port=8080, host=host)
    refused(409, 5101, lambda: services.create(account_id=ACCOUNT, name="engine", type="http", host=host))
    assert [s.service_id for s in services.list(account_id=ACCOUNT)] == [made.service_id]
    changed = services.update(made.service_id, account_id=ACCOUNT, name="engine", type="http", http_port=8081, host=host)
    assert changed.http_port == 8081 and services.get(made.service_id, account_id=ACCOUNT).http_port == 8081, changed
    services.delete(made.service_id, account_id=ACCOUNT)
    refused(404, 5102, lambda: services.get(made.service_id, account_id=ACCOUNT))


def hyperdrive():
    configs = client.hyperdrive.configs
    origin = {"scheme": "postgres", "host": "db.example.com", "port": 5432, "database": "ads", "user": "ads", "password": "planted"}
    made = configs.create(account_id=ACCOUNT, name="db", origin=origin)
    assert "planted" not in made.to_json() and made.origin.host == "db.example.com", made
    edited = configs.edit(made.id, account_id=ACCOUNT, caching={"disabled": True})
    assert edited.caching.disabled and edited.origin.host == "db.example.com", edited
    assert [c.name for c in configs.list(account_id=ACCOUNT)] == ["db"]
    configs.delete(made.id, account_id=ACCOUNT)
    refused(404, 2001, lambda: configs.get(made.id, account_id=ACCOUNT))


def domains():
    for name in ("one", "two"):
        code = ("index.js", b"export default { fetch() { return new Response('x'); } };", "application/javascript+module")
        client.workers.scripts.update(name, account_id=ACCOUNT, metadata={"main_module": "index.js", "compatibility_date": "2026-06-01"}, files=[code])
    zone, domains = the_zone(), client.workers.domains
    made = domains.update(account_id=ACCOUNT, hostname="app.example.com", service="one", zone_id=zone)
    assert made.service == "one" and made.zone_name == "example.com", made
    record = list(client.dns.records.list(zone_id=zone, name={"exact": "app.example.com"}))[0]
    assert record.proxied and record.type == "AAAA", record
    refused(400, 1043, lambda: client.dns.records.delete(dns_record_id=record.id, zone_id=zone))
    assert [d.hostname for d in domains.list(account_id=ACCOUNT, service="one")] == ["app.example.com"]
    theirs = client.dns.records.create(zone_id=zone, type="A", name="taken", content="192.0.2.1", ttl=1)
    refused(409, 100117, lambda: domains.update(account_id=ACCOUNT, hostname="taken.example.com", service="two", zone_id=zone))
    client.dns.records.delete(dns_record_id=theirs.id, zone_id=zone)
    domains.delete(made.id, account_id=ACCOUNT)
    assert list(client.dns.records.list(zone_id=zone)) == [] and list(domains.list(account_id=ACCOUNT)) == []


def cache():
    zone = the_zone()
    assert client.cache.purge(zone_id=zone, hosts=["api.example.com"]).id == zone
    assert client.cache.purge(zone_id=zone, purge_everything=True).id == zone
    refused(400, 1012, lambda: client.cache.purge(zone_id=zone, hosts=["a.example.com"], tags=["a"]))


def dispatch():
    namespaces = client.workers_for_platforms.dispatch.namespaces
    made = namespaces.create(account_id=ACCOUNT, name="customers")
    assert namespaces.get("customers", account_id=ACCOUNT).namespace_id == made.namespace_id
    assert [n.namespace_name for n in namespaces.list(account_id=ACCOUNT)] == ["customers"]
    namespaces.delete("customers", account_id=ACCOUNT)
    refused(404, 100119, lambda: namespaces.get("customers", account_id=ACCOUNT))


def kv():
    made = client.kv.namespaces.create(account_id=ACCOUNT, title="sessions")
    assert "sessions" in [n.title for n in client.kv.namespaces.list(account_id=ACCOUNT)]
    client.kv.namespaces.values.update("key", account_id=ACCOUNT, namespace_id=made.id, value=b"value", metadata="{}")
    assert client.kv.namespaces.values.get("key", account_id=ACCOUNT, namespace_id=made.id).read() == b"value"
    assert [k.name for k in client.kv.namespaces.keys.list(made.id, account_id=ACCOUNT)] == ["key"]
    client.kv.namespaces.values.delete("key", account_id=ACCOUNT, namespace_id=made.id)
    assert client.kv.namespaces.update(made.id, account_id=ACCOUNT, title="renamed") is not None
    client.kv.namespaces.delete(made.id, account_id=ACCOUNT)
    refused(404, 10013, lambda: client.kv.namespaces.get(made.id, account_id=ACCOUNT))


def d1():
    databases = client.d1.database
    made = databases.create(account_id=ACCOUNT, name="ads")
    assert [d.uuid for d in databases.list(account_id=ACCOUNT)] == [made.uuid]
    databases.query(made.uuid, account_id=ACCOUNT, sql="CREATE TABLE t (a INTEGER)")
    databases.query(made.uuid, account_id=ACCOUNT, sql="INSERT INTO t VALUES (?)", params=["7"])
    rows = list(databases.query(made.uuid, account_id=ACCOUNT, sql="SELECT a FROM t"))[0].results
    assert [row["a"] for row in rows] == [7], rows
    databases.delete(made.uuid, account_id=ACCOUNT)
    refused(404, 7404, lambda: databases.get(made.uuid, account_id=ACCOUNT))


def r2():
    buckets = client.r2.buckets
    made = buckets.create(account_id=ACCOUNT, name="media-one")
    assert made.name == "media-one" and buckets.get("media-one", account_id=ACCOUNT).name == "media-one", made
    assert [b.name for b in buckets.list(account_id=ACCOUNT).buckets] == ["media-one"]
    buckets.delete("media-one", account_id=ACCOUNT)
    refused(404, 10006, lambda: buckets.get("media-one", account_id=ACCOUNT))


def queues():
    queues = client.queues
    made = queues.create(account_id=ACCOUNT, queue_name="clicks")
    assert [q.queue_name for q in queues.list(account_id=ACCOUNT)] == ["clicks"]
    edited = queues.edit(made.queue_id, account_id=ACCOUNT, settings={"delivery_delay": 5})
    assert edited.settings.delivery_delay == 5, edited
    queues.delete(made.queue_id, account_id=ACCOUNT)
    assert list(queues.list(account_id=ACCOUNT)) == []


PRODUCTS = [zones, dns, rulesets, tunnels, services, hyperdrive, domains, cache, dispatch, kv, d1, r2, queues]

if __name__ == "__main__":
    wanted = sys.argv[1:] or [product.__name__ for product in PRODUCTS]
    for product in PRODUCTS:
        if product.__name__ in wanted:
            product()
            print(f"{product.__name__}: done")
