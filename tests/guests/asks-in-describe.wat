;; Asks about a request before it says what it is.
;;@imports
(import "keyward:policy/request@0.1.0" "now" (func $now (result i64)))
;;@end
;;@describe
(func (export "keyward:policy/decide@0.1.0#describe") (result i32)
  (drop (call $now))
  (i32.const 2048))
;;@end
