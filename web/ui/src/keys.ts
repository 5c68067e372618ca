// The keyboard. Single keys do nothing while something is being typed, and can be
// turned off (WCAG 2.1.4).
const off = "keys.off";

export function startKeys(copy: (text: string) => void): void {
  const help = document.getElementById("keys") as HTMLDialogElement | null;
  const box = document.getElementById("keys-off") as HTMLInputElement | null;
  if (box) {
    box.checked = localStorage.getItem(off) === "1";
    box.onchange = () => localStorage.setItem(off, box.checked ? "1" : "0");
  }
  document.addEventListener("click", (e) => {
    if ((e.target as Element).closest("[data-do=keys]")) help?.showModal();
  });
  let afterG = 0;
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape") {
      closeMenus(null);
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || help?.open || localStorage.getItem(off) === "1") return;
    if (afterG && Date.now() - afterG < 1500) {
      afterG = 0;
      const to = { o: "/", b: "/builders", q: "/queue", w: "/workers" }[e.key];
      if (to) {
        location.assign(to);
        return;
      }
    }
    const done = press(e.key, help, copy);
    if (e.key === "g") afterG = Date.now();
    if (done) e.preventDefault();
  });
  document.addEventListener("click", (e) => closeMenus(e.target as Element));
}

function press(key: string, help: HTMLDialogElement | null, copy: (text: string) => void): boolean {
  switch (key) {
    case "/": {
      const search = document.getElementById("search") as HTMLInputElement | null;
      search?.focus();
      search?.select();
      return true;
    }
    case "?":
      help?.showModal();
      return true;
    case "j":
    case "k":
      return step(key === "j" ? 1 : -1);
    case "o":
      (document.activeElement as HTMLElement | null)?.closest<HTMLElement>(".row")?.click();
      return true;
    case "[":
      return click("#prev");
    case "]":
      return click("#next");
    case "r":
      return focus("#rebuild");
    case "s": {
      const menu = document.querySelector<HTMLDetailsElement>("#stop");
      if (menu) menu.open = true;
      return focus("#stop input[name=reason]");
    }
    case "y": {
      const b = document.querySelector<HTMLElement>("[data-copylink]");
      copy(b ? location.origin + (b.dataset.copylink ?? "") : location.href);
      return true;
    }
  }
  return false;
}

function typing(target: EventTarget | null): boolean {
  return target instanceof Element && !!target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

function click(selector: string): boolean {
  const el = document.querySelector<HTMLElement>(selector);
  el?.click();
  return !!el;
}

function focus(selector: string): boolean {
  const el = document.querySelector<HTMLElement>(selector);
  el?.focus();
  return !!el;
}

// step moves the focus to the row after or before.
function step(by: number): boolean {
  const rows = Array.from(document.querySelectorAll<HTMLElement>("main .row"));
  if (rows.length === 0) return false;
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
  rows[next]?.focus();
  rows[next]?.scrollIntoView({ block: "nearest" });
  return true;
}

function closeMenus(inside: Element | null): void {
  for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) {
    if (!inside || !menu.contains(inside)) menu.open = false;
  }
}
