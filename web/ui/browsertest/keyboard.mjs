// A walk without a mouse.
import { open } from "./live.mjs";

const active = (page) => page.evaluate(() => {
  const el = document.activeElement;
  return el.id || el.className || el.textContent.trim() || el.nodeName;
});

export async function keyboard(test) {
  const { checks } = test;
  const page = await open(test, "/");
  await page.keyboard.press("Tab");
  checks.equal("keys: Tab first reaches the skip link", await active(page), "skip");
  await page.keyboard.press("Enter");
  checks.equal("keys: which leads to the content", await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("g");
  await page.keyboard.press("b");
  await page.waitForURL("**/builders");
  checks.ok("keys: g b goes to the builders", true);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  checks.ok("keys: j moves down the rows", (await page.evaluate(() => document.activeElement.textContent)).includes("demo"), await active(page));
  await page.keyboard.press("k");
  await page.keyboard.press("j");
  await page.keyboard.press("o");
  await page.waitForURL("**/builders/demo");
  checks.ok("keys: o opens the row", true);
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/builders\/demo\/\d+$/);
  const newest = page.url();
  await page.keyboard.press("[");
  await page.waitForURL((u) => u.href !== newest);
  await page.keyboard.press("]");
  await page.waitForURL(newest);
  checks.ok("keys: [ and ] go to the builds beside", true);
  await page.keyboard.press("r");
  checks.equal("keys: r goes to rebuild, and asks", await active(page), "rebuild");
  await page.keyboard.press("?");
  checks.ok("keys: ? lists the keys", await page.locator("dialog#keys[open]").isVisible());
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  checks.equal("keys: / searches", await active(page), "search");
  await page.keyboard.type("bro");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/builders?q=bro");
  checks.equal("keys: and finds", await page.locator("tbody tr").count(), 1);
  await page.focus("#search");
  await page.fill("#search", "");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 7);
  checks.ok("the list follows what is typed", (await page.evaluate(() => location.search)) === "");
  await page.close();
}
