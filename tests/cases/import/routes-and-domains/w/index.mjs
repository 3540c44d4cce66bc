export default { fetch: () => new Response("routed") };
