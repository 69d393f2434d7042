;; What the guest imports. Calls of it go on through the table to "adapter", which can't be
;; there yet: it needs the guest's own functions. Nothing else is in the guest's reach: WASI
;; has no files, no environment and no output here, and modules are never found.
(module
  (type $host_call (func (param i32 i32 i32 i32 i32) (result i32)))
  (type $clock (func (param i32 i64 i32) (result i32)))
  (type $two (func (param i32 i32) (result i32)))
  (table (export "table") 4 4 funcref)

  (func (export "host_call") (param i32 i32 i32 i32 i32) (result i32)
    (call_indirect (type $host_call)
      (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (i32.const 0)))
  (func (export "host_interrupt") (result i32) (i32.const 0))
  (func (export "host_module_normalize") (param i32 i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "host_module_load") (param i32 i32 i32) (result i32) (i32.const 0))

  (func (export "clock_time_get") (param i32 i64 i32) (result i32)
    (call_indirect (type $clock) (local.get 0) (local.get 1) (local.get 2) (i32.const 1)))
  (func (export "random_get") (param i32 i32) (result i32)
    (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 2)))
  (func (export "environ_sizes_get") (param i32 i32) (result i32)
    (call_indirect (type $two) (local.get 0) (local.get 1) (i32.const 3)))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))
  ;; 8 is EBADF: there is no such file.
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_write") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "proc_exit") (param i32) (unreachable)))
