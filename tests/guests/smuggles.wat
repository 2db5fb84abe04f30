;; Leaves a mark everywhere that an instance can keep one, and traps when it finds one there: a
;; global, memory, the size of the memory, a table, its size, a data and an element segment that it
;; has dropped, and the heap of its allocator.
;;@imports
(global $mark (mut i32) (i32.const 0))
(global $wide (mut i64) (i64.const 0))
(table $table 4 64 funcref)
(elem $functions funcref (ref.func $allow))
(data $text "mark")
;;@end
;;@evaluate
(func $expect (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (call $expect (i32.eqz (global.get $mark)))
  (global.set $mark (i32.const 1))
  (call $expect (i64.eqz (global.get $wide)))
  (global.set $wide (i64.const -1))
  (call $expect (i32.eqz (i32.load (i32.const 3500))))
  (i32.store (i32.const 3500) (i32.const 1))
  (call $expect (i32.eqz (i32.load (i32.const 60000))))
  (i32.store (i32.const 60000) (i32.const 1))
  (call $expect (i32.eq (memory.size) (i32.const 1)))
  (call $expect (i32.eq (memory.grow (i32.const 2)) (i32.const 1)))
  (call $expect (i32.eqz (i32.load (i32.const 131072))))
  (i32.store (i32.const 131072) (i32.const 1))
  (call $expect (i32.eq (table.size $table) (i32.const 4)))
  (call $expect (i32.eq (table.grow $table (ref.null func) (i32.const 1)) (i32.const 4)))
  (call $expect (ref.is_null (table.get $table (i32.const 1))))
  (table.init $table $functions (i32.const 1) (i32.const 0) (i32.const 1))
  (elem.drop $functions)
  (memory.init $text (i32.const 3600) (i32.const 0) (i32.const 4))
  (data.drop $text)
  (call $expect (i32.lt_u (global.get $heap) (i32.const 8192)))
  (global.set $heap (i32.const 8192))
  (call $allow))
;;@end
