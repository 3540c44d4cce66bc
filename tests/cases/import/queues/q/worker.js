export default { async queue(batch) { batch.ackAll(); } };
