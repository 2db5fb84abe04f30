;; Asks about a request while there is none.
;;@imports
(import "keyward:policy/request@0.1.0" "key-read-only" (func $read_only (result i32)))
;;@end
;;@configure
(func (export "keyward:policy/decide@0.1.0#configure") (param i32 i32) (result i32)
  (drop (call $read_only))
  (i32.store8 (i32.const 2500) (i32.const 0))
  (i32.const 2500))
;;@end
