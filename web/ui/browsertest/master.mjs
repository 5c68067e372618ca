// A master of its own in a temporary directory: started, killed and started again
// on the same ports.
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const config = (port, workers) => `
c = {}
c["title"] = "Browser test"
c["www"] = {"port": "tcp:${port}:interface=127.0.0.1"}
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:${workers}:interface=127.0.0.1"}}
c["workers"] = [worker.LocalWorker("here", max_builds = 4), worker.Worker("own", "secret")]

def shell(name, script, **kwargs):
    return steps.ShellCommand(name = name, command = ["sh", "-c", script], **kwargs)

slow = "for i in $(seq 1 60); do echo line $i $(date +%s%3N); sleep 0.1; done"
c["builders"] = [
    util.BuilderConfig(name = "demo", workernames = ["here"], tags = ["nightly"], description = "Counts slowly",
                       factory = util.BuildFactory([shell("prepare", "echo ready"), shell("count", slow), shell("finish", "echo done")])),
    util.BuilderConfig(name = "broken", workernames = ["here"],
                       factory = util.BuildFactory([shell("compile", "seq 1 80; echo '<script>alert(1)</script>'; echo 'x.c:3: error: no such thing' >&2; exit 2",
                                                          haltOnFailure = True), shell("never", "true")])),
    util.BuilderConfig(name = "hang", workernames = ["here"], factory = util.BuildFactory([shell("wait", "echo waiting; sleep 600")])),
    util.BuilderConfig(name = "long", workernames = ["here"],
                       factory = util.BuildFactory([shell("print", "seq -f 'line %.0f of many' 1 200000; printf '\\\\033[31mred\\\\033[0m end\\\\n'")])),
    util.BuilderConfig(name = "far", workernames = ["own"],
                       factory = util.BuildFactory([shell("count", "seq -f 'line %.0f' 1 50; while ! test -e ../go; do sleep 0.05; done; seq -f 'line %.0f' 51 100")])),
    util.BuilderConfig(name = "never", workernames = ["here"], factory = util.BuildFactory([])),
]

def boot(ctx):
    ctx.log("<b>booting</b>")
    return "vm-%d" % ctx.instance

def there(ctx, name):
    return ctx.exec(["test", "-e", basedir + "/provider-" + name]).rc == 0

def halt(ctx, handle, fast):
    if there(ctx, "stuck") or handle == "stray" and not there(ctx, "sure"):
        fail_to_substantiate("the provider is down")
    ctx.exec(["rm", "-f", basedir + "/provider-" + str(handle)])

c["workers"] += [worker.LatentWorker("vm", None, start_instance = boot, stop_instance = halt, list_instances = lambda ctx: ["stray"] if there(ctx, "stray") else [])]
c["builders"] += [util.BuilderConfig(name = "virtual", workernames = ["vm"], factory = util.BuildFactory([]))]
c["schedulers"] = [schedulers.ForceScheduler(
    name = "force", builderNames = ["demo", "broken", "hang", "long", "far", "never", "virtual"],
    properties = [util.IntParameter(name = "jobs", label = "Jobs", default = 2, required = True),
                  util.ChoiceStringParameter(name = "kind", label = "Kind", choices = ["debug", "release"], default = "debug"),
                  util.BooleanParameter(name = "clean", label = "Clean first", default = False)])]
`;

async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

export class Master {
  constructor(binary) {
    this.binary = path.resolve(binary);
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "buildstar-browser-"));
    this.log = "";
  }

  async start() {
    if (!this.port) {
      this.port = await freePort();
      this.workers = await freePort();
      fs.writeFileSync(path.join(this.dir, "master.star"), config(this.port, this.workers));
    }
    this.process = spawn(this.binary, ["start", this.dir], { stdio: ["ignore", "pipe", "pipe"] });
    this.ended = new Promise((done) => this.process.on("exit", done));
    let running;
    const ready = new Promise((done) => (running = done));
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on("data", (data) => {
        this.log += data;
        if (this.log.includes("buildstar is running: ")) running(true);
      });
    }
    const timeout = new Promise((done) => setTimeout(() => done(false), 20_000));
    if (!(await Promise.race([ready, timeout, this.ended.then(() => false)]))) throw new Error("the master did not start:\n" + this.log);
    this.log = "";
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async kill(signal) {
    this.process.kill(signal);
    await this.ended;
  }

  // worker starts a worker of ours.
  worker() {
    const dir = path.join(this.dir, "own");
    const password = path.join(this.dir, "password");
    fs.writeFileSync(password, "secret", { mode: 0o600 });
    const worker = spawn(this.binary, ["worker", "--master", "127.0.0.1:" + this.workers, "--name", "own", "--basedir", dir, "--password-file", password], { stdio: "ignore" });
    return { dir, signal: (name) => worker.kill(name) };
  }

  // get reads the JSON of a page or of the REST API.
  async get(where) {
    const r = await fetch(this.url + where, { headers: { Accept: "application/json" } });
    if (!r.ok) throw new Error(`${where}: ${r.status} ${await r.text()}`);
    return r.json();
  }

  // force forces a builder through the REST API.
  async force(builder) {
    const { builders } = await this.get("/api/v2/builders");
    const { builderid } = builders.find((b) => b.name === builder);
    const r = await fetch(this.url + "/api/v2/forceschedulers/force", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ id: 1, jsonrpc: "2.0", method: "force", params: { builderid: String(builderid), jobs: 2 } }),
    });
    const answer = await r.json();
    if (!r.ok) throw new Error("force " + builder + ": " + JSON.stringify(answer));
    return Object.values(answer.result[1])[0];
  }

  // built waits until a request has a build that is as wanted, and returns it.
  async built(request, wanted = (b) => b.complete) {
    return until(async () => (await this.get(`/api/v2/buildrequests/${request}/builds`)).builds.filter(wanted).at(-1), 60_000, `a build of request ${request}`);
  }

  remove() {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

// until asks again and again until there is an answer.
export async function until(ask, limit, what) {
  const end = Date.now() + limit;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${limit} ms for ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
