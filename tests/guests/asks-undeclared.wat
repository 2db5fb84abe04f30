;; Asks for an attribute that it does not list, which is always absent, and then for the key's mask.
;;@imports
(import "keyward:policy/request@0.1.0" "attribute" (func $attribute (param i32 i32 i32)))
(import "keyward:policy/request@0.1.0" "key-read-only" (func $read_only (result i32)))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (call $attribute (i32.const 1046) (i32.const 11) (i32.const 3000))
  (if (i32.load8_u (i32.const 3000)) (then (unreachable)))
  (drop (call $read_only))
  (call $allow))
;;@end
