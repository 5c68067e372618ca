import { startKeys } from "./keys";
import { Live, type LiveState } from "./live";
import { Refresher } from "./refresh";
import { setClock, startTicking } from "./tick";

// The page is whole without this script. It keeps the page live, shows how long ago
// things were, and adds the keyboard.

declare global {
  interface Window {
    buildstar?: { live: Live };
  }
}

// Old links to Buildbot's page have their place behind the #.
if (location.hash.startsWith("#/")) {
  location.replace("/legacy?to=" + encodeURIComponent(location.hash.slice(1)));
}

document.documentElement.classList.add("js");
const meta = document.querySelector<HTMLMetaElement>("meta[name=buildstar]");
const [position = "", clock = "0"] = (meta?.content ?? "").split(" ");
// Where the events stood is not part of what the page shows.
meta?.remove();
setClock(Number(clock));

const dot = document.getElementById("live");
let countdown = 0;

function showState(s: LiveState): void {
  if (!dot) return;
  clearInterval(countdown);
  if (dot.dataset.state !== s) dot.dataset.state = s;
  if (s === "offline") {
    const since = new Date(live.offlineSince).toLocaleTimeString();
    const say = (): void => {
      const left = Math.max(0, Math.ceil((live.retryAt - Date.now()) / 1000));
      dot.textContent = "offline since " + since + (left > 0 ? ", retrying in " + left + " s" : ", retrying");
    };
    say();
    countdown = window.setInterval(say, 1000);
  } else {
    dot.textContent = s === "live" ? "live" : "catching up";
  }
}

function toast(id: string, text: string, action?: string): void {
  const box = document.getElementById("toasts");
  if (!box || document.getElementById(id)) return;
  const t = document.createElement("div");
  t.className = "toast";
  t.id = id;
  const p = document.createElement("span");
  p.textContent = text;
  t.append(p);
  if (action) {
    const b = document.createElement("button");
    b.type = "button";
    b.className = "small";
    b.textContent = action;
    b.onclick = () => location.reload();
    t.append(b);
  } else {
    setTimeout(() => t.remove(), 2500);
  }
  box.append(t);
}

function copy(text: string): void {
  const done = (): void => toast("copied", "Copied");
  if (navigator.clipboard) {
    navigator.clipboard.writeText(text).then(done, () => toast("copied", "The browser does not allow copying"));
    return;
  }
  // Clipboards need https; pages of a master often have none.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  done();
}

const updated = (): void => toast("updated", "buildstar was updated.", "Reload");
const live = new Live(position, showState, updated);
const refresher = new Refresher(live, updated);
window.buildstar = { live };

document.addEventListener("click", (e) => {
  const b = (e.target as Element).closest<HTMLElement>("[data-copy],[data-copylink]");
  if (!b) return;
  copy(b.dataset.copylink !== undefined ? location.origin + b.dataset.copylink : (b.parentElement?.querySelector("pre")?.textContent ?? ""));
});

// The list of builders is filtered by the server while one types.
const search = document.getElementById("search") as HTMLInputElement | null;
let typed = 0;
search?.addEventListener("input", () => {
  if (location.pathname !== "/builders") return;
  clearTimeout(typed);
  typed = window.setTimeout(() => {
    const u = new URL(location.href);
    u.searchParams.delete("offset");
    if (search.value.trim()) u.searchParams.set("q", search.value.trim());
    else u.searchParams.delete("q");
    history.replaceState(null, "", u);
    refresher.now();
  }, 60);
});

startTicking();
startKeys(copy);
refresher.start();
live.connect();
