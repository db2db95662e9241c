//! What `std` would bring: an allocator and a panic handler.
//!
//! A panic traps (`unreachable`): JavaScript sees a `RuntimeError`, and the package drops the module and
//! counts what it held. No message is formatted, which keeps `core::fmt` out of the module.

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static HEAP: crate::heap::Heap = crate::heap::Heap::new();

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
