
BlogitsJ(QÀg)À#èEÀ§÷JÀSW[¾Ø›Ä<M*AÇU	Áì§¿©#Á