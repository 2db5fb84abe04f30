;; Its settings schema refers to itself, which could be made to take for ever.
;;@imports
(data (i32.const 1200) "{\"$ref\":\"#\"}")
;;@end
;;@describe
(func (export "keyward:policy/decide@0.1.0#describe") (result i32)
  (call $put (i32.const 2048) (i32.const 1024) (i32.const 10))
  (call $put (i32.const 2056) (i32.const 1034) (i32.const 5))
  (call $put (i32.const 2064) (i32.const 1039) (i32.const 7))
  (call $put (i32.const 2072) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2080) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2088) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2096) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2104) (i32.const 1200) (i32.const 12))
  (i32.const 2048))
;;@end
