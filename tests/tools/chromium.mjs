// The headless Chromium that the scripts here look at pages with.

import { load } from "./generate.mjs";

/** Starts it; close it at the end. */
export function launch() {
  return load("playwright-core").chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}
