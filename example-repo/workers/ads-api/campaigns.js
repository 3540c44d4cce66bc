// The first page of the running campaigns.
export function campaigns(limits) {
  return { campaigns: limits.campaigns.slice(0, limits.per_page), per_page: limits.per_page };
}
