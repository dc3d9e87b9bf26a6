//! The browser entry of the pages: takes over the markup that the server rendered.

use wasm_bindgen::prelude::wasm_bindgen;

/// Called once by the page's script when the module is loaded.
#[wasm_bindgen]
pub fn hydrate() {
    // A panic names its place in the console instead of `unreachable executed`.
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(app::App);
}
