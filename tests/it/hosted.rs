//! What lives on hosts besides files, on machines of the fleet with a real systemd, by the program itself, which runs on the
//! machine (`connect = "local"`). Containers are on the engine of the fleet, and the program runs here.

mod compose;
mod containers;
mod directories;
mod here;
mod packages;
pub(crate) mod pm2;
mod pm2_words;
mod services;
pub(crate) mod site;
mod units;
