/**
 * Every sentence of the queue page in every language. One exported tuple per
 * sentence, so that a missing translation is a type error and an unused one
 * leaves the bundle. Short on purpose: this page has a budget in bytes.
 */
export const languages = ['en', 'de', 'fr', 'es', 'ja'] as const;
export type Language = (typeof languages)[number];
export type Text = readonly [en: string, de: string, fr: string, es: string, ja: string];

/** The languages' own names, for the menu. */
export const names: Text = ['English', 'Deutsch', 'Français', 'Español', '日本語'];

export const loading: Text = ['One moment …', 'Einen Moment …', 'Un instant …', 'Un momento …', 'お待ちください…'];
export const scheduled: Text = ['The waiting room opens soon', 'Der Warteraum öffnet bald', 'La salle d’attente ouvre bientôt', 'La sala de espera abre pronto', '待合室はまもなく開きます'];
export const scheduledLead: Text = ['This page lets you in by itself.', 'Diese Seite lässt dich von selbst hinein.', 'Cette page vous fera entrer.', 'Esta página te hará pasar.', 'このページは自動で入室します。'];
export const lobby: Text = ['You are in the waiting room', 'Du bist im Warteraum', 'Vous êtes dans la salle d’attente', 'Estás en la sala de espera', '待合室に入りました'];
export const lobbyLead: Text = ['You get your place in line when sales open.', 'Deinen Platz in der Schlange bekommst du, wenn der Verkauf beginnt.', 'Vous recevrez votre place dans la file à l’ouverture de la vente.', 'Recibirás tu lugar en la fila cuando abra la venta.', '順番は販売開始時に決まります。'];
export const gathered: Text = ['People here', 'Wartende', 'Personnes présentes', 'Personas aquí', '待合室の人数'];

export const waiting: Text = ['You are in line', 'Du bist in der Schlange', 'Vous êtes dans la file', 'Estás en la fila', '順番待ちです'];
export const ahead: Text = ['ahead of you', 'vor dir', 'devant vous', 'delante de ti', '人が前にいます'];
export const next: Text = ['You are next', 'Du bist gleich dran', 'Vous êtes le prochain', 'Eres el siguiente', '次はあなたの番です'];
export const keep: Text = ['You may close this page and come back: your place is kept. Be here when your turn comes.', 'Du kannst die Seite schließen und wiederkommen: dein Platz bleibt. Sei da, wenn du dran bist.', 'Vous pouvez fermer cette page et revenir : votre place est gardée. Soyez là à votre tour.', 'Puedes cerrar esta página y volver: tu lugar se guarda. Vuelve para tu turno.', 'ページを閉じても順番は保持されます。順番が来るときには戻ってきてください。'];
export const wait: Text = ['Estimated wait', 'Wartezeit etwa', 'Attente estimée', 'Espera estimada', '待ち時間の目安'];
export const stock: Text = ['Tickets left', 'Tickets übrig', 'Billets restants', 'Entradas restantes', '残り枚数'];
export const rate: Text = ['Let in per minute', 'Einlass pro Minute', 'Entrées par minute', 'Entran por minuto', '毎分の入場者数'];
export const updated: Text = ['Last updated', 'Stand', 'Mis à jour', 'Actualizado', '最終更新'];

export const paused: Text = ['The line is paused', 'Die Schlange steht still', 'La file est en pause', 'La fila está en pausa', '一時停止中です'];
export const shopDown: Text = ['The shop is not answering', 'Der Shop antwortet nicht', 'La boutique ne répond pas', 'La tienda no responde', 'ショップが応答していません'];
export const full: Text = ['The shop is full', 'Der Shop ist voll', 'La boutique est pleine', 'La tienda está llena', 'ショップが満員です'];
export const allHeld: Text = ['No ticket is free right now', 'Gerade ist kein Ticket frei', 'Aucun billet libre pour l’instant', 'No hay entradas libres ahora', '現在空きがありません'];
export const standstill: Text = ['You keep your place. It goes on by itself.', 'Du behältst deinen Platz. Es geht von selbst weiter.', 'Vous gardez votre place. La file reprendra d’elle-même.', 'Conservas tu lugar. Seguirá por sí sola.', '順番は保持され、自動で再開します。'];

export const ready: Text = ['It’s your turn!', 'Du bist dran!', 'C’est votre tour !', '¡Es tu turno!', 'あなたの番です！'];
export const readyLead: Text = ['Enter before the time runs out, or the next person goes.', 'Tritt ein, bevor die Zeit abläuft, sonst ist der Nächste dran.', 'Entrez avant la fin du temps, sinon le suivant passe.', 'Entra antes de que acabe el tiempo o pasará el siguiente.', '時間内にお入りください。過ぎると次の人の番になります。'];
export const enter: Text = ['Enter the shop', 'Shop betreten', 'Entrer dans la boutique', 'Entrar en la tienda', 'ショップに入る'];
export const inside: Text = ['You’re in', 'Du bist drin', 'Vous êtes entré', 'Ya estás dentro', '入場しました'];
export const done: Text = ['Your visit to the shop has ended', 'Dein Besuch im Shop ist beendet', 'Votre visite de la boutique est terminée', 'Tu visita a la tienda ha terminado', 'ショップのご利用は終了しました'];
export const left: Text = ['You left the line', 'Du hast die Schlange verlassen', 'Vous avez quitté la file', 'Has salido de la fila', '列を離れました'];
export const expired: Text = ['Your turn has passed', 'Deine Zeit ist abgelaufen', 'Votre tour est passé', 'Tu turno ha pasado', '順番が過ぎました'];
export const again: Text = ['Join the line', 'Anstellen', 'Rejoindre la file', 'Unirse a la fila', '列に並ぶ'];
export const closed: Text = ['The sale has ended', 'Der Verkauf ist beendet', 'La vente est terminée', 'La venta ha terminado', '販売は終了しました'];
export const soldOut: Text = ['Sold out', 'Ausverkauft', 'Complet', 'Agotado', '完売しました'];
export const toEvent: Text = ['About the event', 'Zur Veranstaltung', 'Voir l’événement', 'Ver el evento', 'イベント情報'];

export const busy: Text = ['Very many people are arriving. Next try in', 'Sehr viele kommen gerade an. Nächster Versuch in', 'Beaucoup de monde arrive. Nouvel essai dans', 'Llega mucha gente. Nuevo intento en', '混み合っています。再試行まで'];
export const offline: Text = ['No connection', 'Keine Verbindung', 'Pas de connexion', 'Sin conexión', '接続できません'];
export const offlineLead: Text = ['Trying again by itself.', 'Es wird weiter versucht.', 'Nouvel essai automatique.', 'Se reintenta solo.', '自動で再試行します。'];
export const retry: Text = ['Try again', 'Nochmal versuchen', 'Réessayer', 'Reintentar', '再試行'];
export const reconnecting: Text = ['Reconnecting …', 'Verbindet neu …', 'Reconnexion …', 'Reconectando …', '再接続中…'];
export const polling: Text = ['Updated every few seconds', 'Alle paar Sekunden aktuell', 'Mis à jour régulièrement', 'Se actualiza cada poco', '数秒ごとに更新'];
export const live: Text = ['Live', 'Live', 'En direct', 'En directo', 'ライブ'];
export const leave: Text = ['Leave the line', 'Schlange verlassen', 'Quitter la file', 'Salir de la fila', '列を離れる'];
export const really: Text = ['Leave and lose my place', 'Gehen und Platz verlieren', 'Quitter et perdre ma place', 'Salir y perder mi lugar', '順番を失って離れる'];
export const tell: Text = ['Tell me when it’s my turn', 'Sag mir, wenn ich dran bin', 'Prévenez-moi à mon tour', 'Avísame en mi turno', '順番が来たら知らせる'];
export const tabs: Text = ['Open in another tab too: both hold your place.', 'Auch in einem anderen Tab offen: beide halten deinen Platz.', 'Aussi ouverte dans un autre onglet : les deux gardent votre place.', 'Abierta también en otra pestaña: ambas guardan tu lugar.', '別のタブでも開いています。どちらも順番を保持します。'];
