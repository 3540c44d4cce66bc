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
    // Views are many: they go through a queue, and are counted in batches below.
    if (url.pathname === "/view") {
      await env.VIEWS.send({ campaign: url.searchParams.get("campaign") ?? "all" });
      return new Response(null, { status: 202 });
    }
    return new Response(JSON.stringify({ key, count }) + "\n", { headers: { "content-type": "application/json" } });
  },

  async queue(batch, env) {
    const views = {};
    for (const { body } of batch.messages) views[body.campaign] = (views[body.campaign] ?? 0) + 1;
    for (const [campaign, more] of Object.entries(views)) {
      const key = "views:" + campaign;
      await env.CLICKS.put(key, String(Number((await env.CLICKS.get(key)) ?? 0) + more));
    }
  },
};
