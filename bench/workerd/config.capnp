# The peer: one worker, one class of durable object, its storage on the local disk.
# The address and the directory are given on the command line.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "store", disk = (path = "/nowhere", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [(name = "worker", esModule = embed "worker.js")],
  durableObjectNamespaces = [(className = "Thing", uniqueKey = "holdfast-bench", enableSql = true)],
  durableObjectStorage = (localDisk = "store"),
  bindings = [(name = "things", durableObjectNamespace = "Thing")],
);
