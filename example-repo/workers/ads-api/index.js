// The API of the ads platform.
import { campaigns } from "./campaigns.js";
import { json, notFound } from "./lib/respond.js";

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    switch (url.pathname) {
      case "/":
        return json({ banner: env.BANNER, log_level: env.LOG_LEVEL, partner: Boolean(env.PARTNER_KEY) });
      case "/campaigns":
        return json(campaigns(env.LIMITS));
      case "/click":
        // Over the service binding: no network between the two Workers.
        return env.TRACKER.fetch("http://tracker/click" + url.search);
      case "/budgets":
        return json((await env.CAMPAIGNS.prepare("SELECT name, budget FROM campaigns ORDER BY name").all()).results);
      default: {
        const creative = url.pathname.startsWith("/creatives/") && (await env.CREATIVES.get(url.pathname.slice(11)));
        if (creative) return new Response(creative.body);
        return notFound(url.pathname);
      }
    }
  },

  // Every five minutes: see the trigger in bases/ads/workers.toml.
  async scheduled(event, env) {
    console.log(JSON.stringify({ cron: event.cron, banner: env.BANNER }));
  },
};
