;; Asks for the key's mask a million times.
;;@imports
(import "keyward:policy/request@0.1.0" "key-read-only" (func $read_only (result i32)))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (local $i i32)
  (loop $next
    (drop (call $read_only))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 1000000))))
  (call $allow))
;;@end
