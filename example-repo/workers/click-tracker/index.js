// Counts clicks by campaign in KV. KV has no transactions: two clicks at the same instant may count as one.
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const key = "clicks:" + (url.searchParams.get("campaign") ?? "all");
    let count = Number((await env.CLICKS.get(key)) ?? 0);
    if (url.pathname === "/click") {
      count += 1;
      await env.CLICKS.put(key, String(count));
    }
    return new Response(JSON.stringify({ key, count }) + "\n", { headers: { "content-type": "application/json" } });
  },
};
