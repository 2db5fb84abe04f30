;; Declares `key.revoked`, which is the host's to say.
;;@imports
(data (i32.const 1200) "key.revoked")
;;@end
;;@describe
(func (export "keyward:policy/decide@0.1.0#describe") (result i32)
  (call $put (i32.const 2048) (i32.const 1024) (i32.const 10))
  (call $put (i32.const 2056) (i32.const 1034) (i32.const 5))
  (call $put (i32.const 2064) (i32.const 1039) (i32.const 7))
  (call $put (i32.const 2072) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2080) (i32.const 2112) (i32.const 1))
  (call $put (i32.const 2112) (i32.const 1200) (i32.const 11))
  (call $put (i32.const 2120) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2128) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2088) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2096) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2104) (i32.const 0) (i32.const 0))
  (i32.const 2048))
;;@end
