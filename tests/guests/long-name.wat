;; Asks for a header whose name is 60,000 bytes long.
;;@imports
(import "keyward:policy/request@0.1.0" "header" (func $header (param i32 i32 i32)))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (call $header (i32.const 4096) (i32.const 60000) (i32.const 3000))
  (call $allow))
;;@end
