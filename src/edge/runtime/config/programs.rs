//! The small programs of ours that run beside the Workers.
//!
//! **Invariant:** none of them keeps anything; each hands a call on.

use std::fmt::Write as _;

use super::super::store::DATABASE_HEADER;
use super::quote;

/// The name of the module behind rate limits.
pub(super) const RATELIMIT_MODULE: &str = "trunkline:ratelimit";

/// A rate limit's binding: the edge counts, so that a swap does not start the count again.
pub(super) const RATELIMIT: &str = r#"export default (env) => ({
  async limit(options) {
    const key = options?.key ?? "";
    if (typeof key !== "string") throw new Error(`invalid key: ${key}`);
    return (await env.fetcher.fetch("http://ratelimit/", { method: "POST", body: key })).json();
  },
});
"#;

/// What calls the handlers that HTTP cannot reach: it has a binding to each Worker.
const EVENTS: &str = r#"const bytes = (text) => Uint8Array.fromBase64(text);
const message = ({ v8, bytes: body, timestamp, ...rest }) => ({
  ...rest,
  timestamp: new Date(timestamp),
  ...(v8 !== undefined && { serializedBody: bytes(v8) }),
  ...(body !== undefined && { body: bytes(body).buffer }),
});
export default {
  async fetch(request, env) {
    const { binding, cron, scheduledTime, queue, messages, metrics } = await request.json();
    if (queue !== undefined) {
      return Response.json(await env[binding].queue(queue, messages.map(message), { metrics }));
    }
    return Response.json(await env[binding].scheduled({ cron, scheduledTime: new Date(scheduledTime) }));
  },
};
"#;

/// What stands for a thing that was deleted although a Worker binds it.
const ABSENT: &str = r#"export default {
  fetch() { throw new Error("what this binding names does not exist"); },
};
"#;

/// The way from a D1 binding to the store: a call by RPC becomes one by HTTP, which passes a socket.
const D1: &str = r#"import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint {
  fetch(request) {
    const headers = new Headers(request.headers);
    headers.set("DATABASE_HEADER", this.ctx.props.database);
    return this.env.STATE.fetch(new Request(request, { headers }));
  }
  async query(call) {
    const response = await this.fetch(new Request("http://d1/__query", { method: "POST", body: JSON.stringify(call) }));
    const { answer, error } = await response.json();
    if (error !== undefined) throw new Error(error);
    return answer;
  }
}
"#;

/// Writes the programs; `helpers` are the bindings of the one that calls handlers.
pub(super) fn write(text: &mut String, helpers: &str) {
    let date = "compatibilityDate = \"2026-06-01\"";
    let _ = writeln!(
        text,
        "const absent :Workerd.Worker = (modules = [(name = \"absent.js\", esModule = {})], {date});",
        quote(ABSENT)
    );
    let _ = writeln!(
        text,
        "const events :Workerd.Worker = (\n  modules = [(name = \"events.js\", esModule = {})],\n  {date},\n  compatibilityFlags = [\"service_binding_extra_handlers\"],\n  bindings = [\n{helpers}  ],\n);",
        quote(EVENTS)
    );
    let _ = writeln!(
        text,
        "const d1 :Workerd.Worker = (\n  modules = [(name = \"d1.js\", esModule = {})],\n  {date},\n  bindings = [(name = \"STATE\", service = \"state\")],\n);",
        quote(&D1.replace("DATABASE_HEADER", DATABASE_HEADER))
    );
}
