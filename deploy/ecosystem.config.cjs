// PM2: the daemon, and an edge beside it, where there is no systemd. `pm2 start deploy/ecosystem.config.cjs`, then `pm2 save`.
//
// Nothing is decided here but where the program and its files are: TRUNKLINE_PROGRAM, else `trunkline` on the PATH, and
// TRUNKLINE_HOME, else ~/.trunkline, with `daemon.toml`, `identity` and `edge-token` in it. Leave out what you do not run with
// `pm2 start deploy/ecosystem.config.cjs --only trunkline`.
const path = require("node:path");
const os = require("node:os");

const home = process.env.TRUNKLINE_HOME || path.join(os.homedir(), ".trunkline");
const program = process.env.TRUNKLINE_PROGRAM || "trunkline";
const at = (name) => path.join(home, name);

const service = (name, args) => ({
  name,
  script: program,
  args,
  // A binary: PM2 is to start it as it is, once, and not to look at its files.
  interpreter: "none",
  exec_mode: "fork",
  instances: 1,
  watch: false,
  autorestart: true,
  exp_backoff_restart_delay: 1000,
  // On SIGTERM the change in hand is finished and recorded.
  kill_timeout: 300000,
  stop_signal: "SIGTERM",
  env: { PM2_KILL_SIGNAL: "SIGTERM" },
});

module.exports = {
  apps: [
    service("trunkline", ["run", "--config", at("daemon.toml"), "--data", at("data"), "--identity", at("identity")]),
    service("trunkline-edge", [
      "edge", "--listen", "127.0.0.1:8787", "--http", "127.0.0.1:8788", "--data", at("edge"), "--token-file", at("edge-token"),
    ]),
  ],
};
