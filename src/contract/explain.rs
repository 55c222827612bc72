//! A page for each rejection code: what it means, an example that triggers it, the fix.
