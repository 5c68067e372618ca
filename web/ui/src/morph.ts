// morph makes an element of the page equal to a newer one, touching only what
// differs: scroll positions, focus, selections and open menus stay. Children with
// an id are matched by it, others by their place. What is marked data-keep belongs
// to a script, and a form marked data-dirty to the reader.
export function morph(old: Element, next: Element): void {
  if (old.hasAttribute("data-keep") || old.hasAttribute("data-dirty") || old.isEqualNode(next)) return;
  attributes(old, next);
  children(old, next);
}

function attributes(old: Element, next: Element): void {
  for (const { name } of Array.from(old.attributes)) {
    if (!next.hasAttribute(name) && !isReaders(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of Array.from(next.attributes)) {
    if (old.getAttribute(name) !== value && !isReaders(old, name)) old.setAttribute(name, value);
  }
}

// isReaders: whether a menu is open, and how far a bar is, is not the server's.
function isReaders(el: Element, name: string): boolean {
  return (el.nodeName === "DETAILS" && name === "open") || (el.nodeName === "PROGRESS" && name === "value");
}

const keyOf = (n: Node): string => (n instanceof Element ? n.id : "");

function children(old: Element, next: Element): void {
  const kept = new Map<string, Element>();
  for (const c of Array.from(old.children)) if (c.id) kept.set(c.id, c);
  const wanted = new Set<string>();
  for (const c of Array.from(next.children)) if (c.id) wanted.add(c.id);

  let at: ChildNode | null = old.firstChild;
  const skipGone = (): void => {
    while (at && keyOf(at) && !wanted.has(keyOf(at))) {
      const gone: ChildNode = at;
      at = gone.nextSibling;
      gone.remove();
    }
  };
  for (const n of Array.from(next.childNodes)) {
    skipGone();
    const key = keyOf(n);
    const match = key ? kept.get(key) : undefined;
    if (match && match.nodeName === n.nodeName) {
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      morph(match, n as Element);
    } else if (!key && at && !keyOf(at) && at.nodeName === n.nodeName) {
      const here: ChildNode = at;
      at = here.nextSibling;
      if (here instanceof Element) morph(here, n as Element);
      else if (here.nodeValue !== n.nodeValue) here.nodeValue = n.nodeValue;
    } else {
      old.insertBefore(document.importNode(n, true), at);
    }
  }
  while (at) {
    const gone: ChildNode = at;
    at = gone.nextSibling;
    gone.remove();
  }
}
