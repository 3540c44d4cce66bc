// Keeps answers of the origin at the edge. Where there is no Cache API it passes everything through.
export default {
  async fetch(request, env, context) {
    const url = new URL(request.url);
    const cache = globalThis.caches?.default;
    const cacheable = request.method === "GET";
    const kept = cacheable ? await lookUp(cache, request) : undefined;
    if (kept) {
      return labelled(kept, "hit");
    }
    let answer;
    try {
      answer = await fetch(new URL(url.pathname + url.search, env.ORIGIN), {
        method: request.method,
        body: cacheable || request.method === "HEAD" ? undefined : request.body,
      });
    } catch {
      return new Response(JSON.stringify({ error: "origin unreachable", origin: env.ORIGIN }) + "\n", {
        status: 502,
        headers: { "content-type": "application/json" },
      });
    }
    if (cacheable && answer.ok && cache) {
      const copy = new Response(answer.clone().body, answer);
      copy.headers.set("cache-control", `public, max-age=${env.TTL_SECONDS}`);
      context.waitUntil(cache.put(request, copy).catch(() => {}));
    }
    return labelled(answer, "miss");
  },
};

async function lookUp(cache, request) {
  try {
    return await cache?.match(request);
  } catch {
    return undefined;
  }
}

function labelled(answer, status) {
  const response = new Response(answer.body, answer);
  response.headers.set("x-edge-cache", status);
  return response;
}
