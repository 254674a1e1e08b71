"""How long a person waits from the click on Run to the result, in real Chromium.

    python -m benchmarks.browser [--rounds 5] [--pages]

Starts the app, opens the Attack page with EfficientNet-Lite0, and for each attack changes the seed (so that nothing is
taken from the session's results), clicks Run and waits until the new verdict and its pictures are on the screen. With
--pages it opens every page instead, each in a browser that has seen nothing, and tells when its headline is there.
"""

from __future__ import annotations

import argparse
import statistics
import time

from playwright.sync_api import Page, sync_playwright

from tests.support.browser import ARGS, PATHS, REST, chromium, served


def waits(page: Page, url: str, query: str, rounds: int) -> list[float]:
    """Seconds from the click to the result, one a round."""
    found = []
    page.goto(f"{url}/attack?{query}")
    page.wait_for_selector(".st-key-result h3", timeout=120_000)
    for _ in range(rounds):
        page.wait_for_selector(REST)
        page.wait_for_timeout(500)
        page.locator(".st-key-seed button").last.click()
        page.get_by_text("The settings have changed").wait_for()
        page.wait_for_selector(REST)
        start = time.perf_counter()
        page.get_by_role("button", name="Run the attack").click()
        page.get_by_text("The settings have changed").wait_for(state="detached")
        page.wait_for_selector(".st-key-result h3")
        page.wait_for_selector(REST)
        page.wait_for_function(
            "[...document.querySelectorAll('.st-key-result img')].every(i => i.complete && i.naturalWidth)"
        )
        found.append(time.perf_counter() - start)
    return found


def opened(page: Page, url: str) -> float:
    """Seconds from the address to the headline of the page's finished result."""
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector(".st-key-result :is(h3, h4)", timeout=120_000)
    return time.perf_counter() - start


def main() -> None:
    """Prints a line an attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", action="store_true", help="time to each page's first headline")
    args = parser.parse_args()
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGS)
        if args.pages:
            for path in PATHS:
                spent = []
                for _ in range(args.rounds):
                    with browser.new_context(viewport={"width": 1400, "height": 1000}) as fresh:
                        spent.append(opened(fresh.new_page(), f"{url}/{path}"))
                print(f"{path}: {statistics.median(spent):.2f} s, the first {spent[0]:.2f} s")
            browser.close()
            return
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        for name, query in (("fgsm", "attack=FGSM"), ("mi_fgsm, 10 steps", "attack=MI-FGSM")):
            spent = waits(page, url, query, args.rounds)
            each = ", ".join(f"{s:.2f}" for s in spent)
            print(f"{name}: median {statistics.median(spent):.2f} s of {each}")
        browser.close()


if __name__ == "__main__":
    main()
